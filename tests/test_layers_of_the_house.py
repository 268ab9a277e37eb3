"""No import runs upwards, between the rooms of the package."""

import ast
import pathlib

import keras_clmae
from tests.once import ONCE

PACKAGE = pathlib.Path(keras_clmae.__file__).parent
# From the roof to the ground. A room imports only rooms below it; one that is
# in the table and not in the package stands empty.
ROOMS = (
    "__main__",
    "cli",
    "runs",
    "recipes",
    "callbacks",
    "evaluation",
    "conversion",
    "models",
    "trainers",
    "maskers",
    "objectives",
    "data",
    "visualization",
    "distribution",
    "layers",
    "curriculum",
    "losses",
    "optimizers",
    "kernels",
    # Below data and visualization, which write files whole.
    "saving",
    "argument_validation",
    "batches",
    "optional_imports",
    "file_names",
    "freed_memory",
    "random_state",
    "version",
)


def imported_rooms(code):
    """Rooms that code imports, at its head or inside of its functions."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            first, *rest = name.split(".")
            if first == "keras_clmae":
                # The package itself imports everything.
                yield rest[0] if rest else "__init__"


def room_of(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def upward_imports(room, code):
    below = list(ROOMS[ROOMS.index(room) :])
    if room == "cli":
        # It imports everything once the arguments are known to be good.
        below.append("__init__")
    return [other for other in imported_rooms(code) if other not in below]


@ONCE
def test_every_room_is_in_the_table():
    rooms = {room_of(path) for path in PACKAGE.rglob("*.py")} - {"__init__"}
    assert rooms <= set(ROOMS)


@ONCE
def test_no_import_runs_upwards():
    found = [
        f"{path.relative_to(PACKAGE)} imports {other}"
        for path in PACKAGE.rglob("*.py")
        if room_of(path) != "__init__"
        for other in upward_imports(
            room_of(path), path.read_text(encoding="utf-8")
        )
    ]
    assert not found, "\n".join(sorted(found))


@ONCE
def test_an_upward_import_is_seen():
    code = "def f():\n    from keras_clmae.conversion.timm import to_timm\n"
    assert upward_imports("models", code) == ["conversion"]
    assert upward_imports("data", "from keras_clmae import models") == [
        "models"
    ]
    assert upward_imports("data", "import keras_clmae") == ["__init__"]
    assert not upward_imports("evaluation", code)
