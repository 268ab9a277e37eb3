"""Runs the notebooks, in a few epochs, on the backend of this process."""

import ast
import base64
import importlib.util
import pathlib
import re
import runpy
import sys
import tomllib

import keras
import pytest

from tests.drawn import drawn_panels
from tests.lean import lean_environment
from tests.once import ONCE

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
for module in ("ipykernel", "matplotlib", "sklearn"):
    pytest.importorskip(module)

ROOT = pathlib.Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
# Number of the notebook: backends, and what replaces its parameters.
RUNS = {
    "1": (("torch",), {"EPOCHS": 2}),
    # It goes on with JAX.
    "2": (
        ("tensorflow",),
        {"PRETRAINING_EPOCHS": 1, "FINE_TUNING_EPOCHS": 2},
    ),
    "3": (("torch",), {"PRETRAINING_EPOCHS": 1, "EPOCHS": 2}),
    "4": (("torch",), {"EPOCHS": 1}),
    "5": (("torch",), {"EPOCHS": 1}),
}
# What a notebook needs beside its backend and what all need.
NEEDED = {"2": ("jax",), "4": ("tensorflow",)}
HERE = [
    path
    for path in NOTEBOOKS
    if keras.backend.backend() in RUNS[path.name[0]][0]
]


@ONCE
def test_notebooks_are_stored_clean():
    assert [path.name[0] for path in NOTEBOOKS] == list(RUNS)
    for path in NOTEBOOKS:
        notebook = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)
        code = [cell for cell in notebook.cells if cell.cell_type == "code"]
        assert "%pip install" in code[0].source, path.name
        assert all(cell.execution_count is None for cell in code), path.name
        outputs = [output for cell in code for output in cell.outputs]
        # As scripts/execute_notebooks.py leaves them.
        assert any("image/png" in each.get("data", {}) for each in outputs)
        assert not any(
            each.output_type == "error" or each.get("name") == "stderr"
            for each in outputs
        ), path.name
        printed = [each for each in outputs if each.output_type == "stream"]
        # Bars that were written over.
        assert not any("━" in each.text for each in printed), path.name
        assert path.stat().st_size < 400_000
        first, *others = [
            cell.source
            for cell in notebook.cells
            if cell.cell_type == "markdown"
        ]
        assert first.startswith(f"# {path.name[0]} · "), path.name
        assert "[Open in Colab](https://colab." in first, path.name
        assert not any(text.startswith(("# ", " ")) for text in others)
        # The table of contents of the site drops code in headings.
        headings = re.findall("^#.*$", "\n".join(others), re.MULTILINE)
        assert not any("`" in heading for heading in headings), path.name


@ONCE
def test_lines_that_were_written_over_are_not_stored():
    pytest.importorskip("PIL")
    place = ROOT / "scripts" / "execute_notebooks.py"
    clean = runpy.run_path(str(place))["clean"]
    printed = [
        nbformat.v4.new_output("stream", name="stdout", text=text)
        for text in ("1/2 ━─", "\r2/2 ━━\rloss 0.5 \n", "done")
    ]
    (output,) = clean(printed)
    assert output.text == "loss 0.5\ndone\n"
    assert clean([]) == []


@ONCE
def test_an_animation_is_stored_as_the_site_shows_it():
    pytest.importorskip("PIL")
    place = ROOT / "scripts" / "execute_notebooks.py"
    data = {"image/gif": "R0lG\nODlh\n", "text/plain": "<Image>"}
    shown = nbformat.v4.new_output("execute_result", data)
    (output,) = runpy.run_path(str(place))["clean"]([shown])
    assert list(output.data) == ["text/html"]
    assert ";base64,R0lGODlh" in output.data["text/html"]
    text = NOTEBOOKS[0].read_text(encoding="utf-8")
    assert "data:image/gif;base64," in text and '"image/gif"' not in text


@ONCE
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_first_cell_installs_what_is_missing(path, monkeypatch, tmp_path):
    # Of a clone.
    monkeypatch.chdir(path.parent)
    code = [
        cell.source
        for cell in nbformat.read(path, as_version=4).cells
        if cell.cell_type == "code"
    ]
    install = re.sub(
        r"%pip install --quiet (.*)", r"asked.append(f\1)", code[0]
    )
    present, asked = set(), []
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: name in present or None
    )
    names = {"asked": asked}
    exec(install, names)
    # What comes with Keras, with Python, with Jupyter, or from a cell.
    others = {"keras", "numpy", "IPython", "fine_tune"}
    imported = {
        name.split(".")[0]
        for node in ast.walk(ast.parse("\n".join(code[1:])))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    backend = re.search(r'"KERAS_BACKEND", "(\w+)"', "\n".join(code))[1]
    # The embedded digits are scikit-learn's.
    used = imported - others - sys.stdlib_module_names | {backend, "sklearn"}
    assert used <= set(names["needed"])
    for missing in names["needed"]:
        present = set(names["needed"]) - {missing}
        exec(install, names)
    assert len(asked) == 1 + len(names["needed"])
    present = set(names["needed"])
    exec(install, names)
    assert len(asked) == 1 + len(names["needed"])
    folder, extras = re.fullmatch(r"(.*)\[(.*)\]", asked[0]).groups()
    project = tomllib.loads(
        (path.parent / folder / "pyproject.toml").read_text()
    )
    known = project["project"]["optional-dependencies"]
    listed = " ".join(
        requirement
        for extra in extras.split(",")
        for requirement in known[extra]
    )
    package = {"sklearn": "scikit-learn", "PIL": "pillow"}
    for name in used - {"keras_clmae"}:
        assert package.get(name, name) in listed, name
    # Alone, as in Colab: from the index, or from the wheel that was uploaded.
    monkeypatch.chdir(tmp_path)
    present = set()
    exec(install, names)
    assert asked[-1] == f"keras-clmae[{extras}]"
    (tmp_path / "keras_clmae-0.1.0-py3-none-any.whl").touch()
    exec(install, names)
    assert asked[-1] == f"keras_clmae-0.1.0-py3-none-any.whl[{extras}]"


@ONCE
def test_every_loss_is_taken_away_once():
    text = (ROOT / "notebooks" / "5_change_the_method.ipynb").read_text()
    for loss in ("reconstruction", "gaussian", "kl", "diversity"):
        assert f'"no {loss} loss\\": {{' in text, loss


@pytest.mark.slow
@pytest.mark.parametrize("path", HERE, ids=lambda path: path.stem)
# Of the machinery that runs notebooks, not of ours.
@pytest.mark.filterwarnings("ignore")
def test_notebook_runs(path, tmp_path, monkeypatch):
    backend = keras.backend.backend()
    monkeypatch.setenv("KERAS_BACKEND", backend)
    # The kernel starts elsewhere and finds the package as this process does.
    environment = lean_environment(
        "matplotlib",
        "sklearn",
        *NEEDED.get(path.name[0], ()),
        KERAS_BACKEND=backend,
        PYTHONPATH=str(ROOT),
    )
    monkeypatch.setenv("PYTHONPATH", environment["PYTHONPATH"])
    monkeypatch.setenv(
        "MPLBACKEND", "module://matplotlib_inline.backend_inline"
    )
    notebook = nbformat.read(path, as_version=4)
    (parameters,) = [
        cell
        for cell in notebook.cells
        if "parameters" in cell.metadata.get("tags", ())
    ]
    for name, value in RUNS[path.name[0]][1].items():
        assert f"{name} = " in parameters.source
        parameters.source += f"\n{name} = {value}"
    nbclient.NotebookClient(
        notebook,
        # Each takes a minute where the machine is quiet.
        timeout=1500,
        kernel_name="python3",
        resources={"metadata": {"path": str(tmp_path)}},
    ).execute()
    pictures = [
        output
        for cell in notebook.cells
        for output in cell.get("outputs", ())
        if "image/png" in output.get("data", {})
    ]
    assert pictures
    for number, output in enumerate(pictures):
        path = tmp_path / f"shown_{number}.png"
        path.write_bytes(base64.b64decode(output["data"]["image/png"]))
        # Twenty images side by side, at the resolution of notebooks.
        colors, panels = drawn_panels(path, letters=25)
        assert colors > 20 and panels, number
