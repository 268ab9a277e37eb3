"""README, CONTRIBUTING and docs/: their code runs, their commands parse.

Python blocks of a page run in order, as one program, with one layer and in one
epoch. Commands are parsed as they are typed; the tests in tests/cli do their
work.
"""

import ast
import html.parser
import importlib
import pathlib
import re
import runpy
import shlex
import subprocess
import sys
import tomllib
import urllib.parse
from importlib.metadata import metadata

import keras
import numpy as np
import pytest
from PIL import Image

import keras_clmae
from keras_clmae import cli
from tests.drawn import drawn_panels
from tests.once import ONCE

ROOT = pathlib.Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = {
    str(path.relative_to(ROOT)): path
    for path in (
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        *sorted(DOCS.glob("*.md")),
    )
}
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
EVERYWHERE = ("jax", "tensorflow", "torch")
# What every backend does alike is run on one: here unless said otherwise.
DEFAULT_BACKENDS = ("torch",)
BACKENDS = {"README.md": EVERYWHERE}
# Modules without which a page cannot run.
NEEDS = {
    "docs/conversion.md": ("safetensors", "keras_hub", "onnxscript"),
    "docs/data_sources.md": (
        *("torch", "tensorflow", "datasets", "pyarrow"),
        *("webdataset", "tifffile"),
    ),
    "docs/figures.md": ("matplotlib",),
}


def blocks(page, language):
    """Code of the blocks of a language, in order."""
    found = BLOCK.findall(PAGES[page].read_text(encoding="utf-8"))
    return [code for name, code in found if name == language]


def pages_with(language):
    return [page for page in PAGES if blocks(page, language)]


def runs_here(page):
    backends = BACKENDS.get(page, DEFAULT_BACKENDS)
    return keras.backend.backend() in backends


@ONCE
def test_every_block_is_of_a_language_that_is_checked():
    for page, path in PAGES.items():
        text = path.read_text(encoding="utf-8")
        found = BLOCK.findall(text)
        assert {name for name, _ in found} <= {"python", "bash", "yaml"}, page
        assert text.count("```") == 2 * len(found), page


@pytest.mark.parametrize(
    "page", [page for page in pages_with("python") if runs_here(page)]
)
@pytest.mark.filterwarnings("ignore")
def test_python(page, tmp_path, monkeypatch):
    for module in ("sklearn", *NEEDS.get(page, ())):
        pytest.importorskip(module)
    monkeypatch.chdir(tmp_path)
    # As where nothing shows figures.
    monkeypatch.setenv("MPLBACKEND", "agg")
    write_photos(tmp_path / "photos")
    names = {}
    for code in blocks(page, "python"):
        # One epoch shows as much as sixty, and one layer as four.
        short = re.sub(r"\b(epochs|num_layers)( ?= ?)\d+", r"\1\g<2>1", code)
        exec(compile(short, page, "exec"), names)
    if page in RESULTS:
        RESULTS[page](names)


def write_photos(folder):
    """Eight pictures, of which the first and the last are alike."""
    folder.mkdir()
    random = np.random.default_rng(0)
    drawn = random.integers(0, 256, (7, 40, 48, 3), np.uint8)
    for number, pixels in enumerate((*drawn, drawn[0])):
        Image.fromarray(pixels).save(folder / f"{number}.png")


def readme_results(names):
    train, test = names["train"], names["test"]
    assert names["features"].shape == (1438, 64)
    # Row by row the features of these images, so that the labels are theirs.
    tokens = names["model"].encoder(test[0][:8])
    np.testing.assert_allclose(
        names["test_features"][:8],
        keras.ops.convert_to_numpy(tokens)[:, 1:].mean(axis=1),
        rtol=1e-4,
        atol=1e-4,
    )
    accuracy = keras_clmae.evaluation.knn_accuracy(
        names["features"], train[1], names["test_features"], test[1]
    )
    # Chance is 0.1; with labels in another order it is no more.
    assert accuracy > 0.3
    assert names["photo_features"].shape == (8, 96)
    assert names["nearest"].shape == (8, 6)
    assert names["nearest"][0, 0] == 7
    assert names["distances"][0, 0] == pytest.approx(0, abs=1e-5)


def getting_started_results(names):
    # Chance is 0.1; without pretraining it is 0.5.
    assert 0.3 < names["accuracy"] <= 1
    assert names["again"].optimizer.built
    assert names["encoder"].hidden_dim == 32
    listed = re.findall(
        r"^\| (`.*?`) \|", PAGES["docs/getting_started.md"].read_text(), re.M
    )
    logged = {name for cell in listed for name in re.findall(r"`(\w+)`", cell)}
    assert set(names["history"].history) <= logged


def conversion_results(names):
    assert names["larger"].image_shape == (64, 48, 3)
    assert names["encoder"].num_heads == 4


def figures_results(names):
    # Eight images: each, its scores, what is visible, and rebuilt.
    assert drawn_panels("masks.png")[1] == 4 * 8
    # Losses, factor, difficulty and the four terms.
    assert drawn_panels("curriculum.png")[1] == 7
    for folder, rows in (("masks", 4), ("rebuilt", 5)):
        drawn = sorted(pathlib.Path(folder).glob("*.png"))
        assert [path.stem for path in drawn] == ["epoch_00000", "epoch_00001"]
        for path in drawn:
            assert drawn_panels(path)[1] == rows * 8


RESULTS = {
    "README.md": readme_results,
    "docs/getting_started.md": getting_started_results,
    "docs/conversion.md": conversion_results,
    "docs/figures.md": figures_results,
}


@ONCE
@pytest.mark.parametrize("page", pages_with("bash"))
@pytest.mark.filterwarnings("ignore")
def test_commands(page, tmp_path, monkeypatch, capsys):
    for module in ("jsonargparse", "rich"):
        pytest.importorskip(module)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    (tmp_path / "scripts").symlink_to(ROOT / "scripts")
    for code in blocks(page, "bash"):
        for line in code.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
                words.pop(0)
            if words:
                check_command(words, monkeypatch)


def check_command(words, monkeypatch):
    """Raises if a command of a page does not exist or takes other options."""
    program, *arguments = words
    scripts = [word for word in words if word.startswith("scripts/")]
    for path in scripts:
        assert (ROOT / path).exists(), path
    if program == "pip":
        check_requirements(arguments)
    elif program == "keras-clmae":
        parse(arguments, monkeypatch)
    elif program == "docker":
        if arguments[0] == "run":
            # The image is called as the command that it runs.
            start = arguments.index("keras-clmae") + 1
            parse(arguments[start:], monkeypatch)
    elif program == "python":
        print_config(
            pathlib.Path(arguments[0]).stem, arguments[1:], monkeypatch
        )
    elif scripts and scripts[0].startswith("scripts/launch_"):
        launched = words[words.index(scripts[0]) + 1 :]
        parse(["pretrain", *launched], monkeypatch)
    else:
        assert program in ("bash", "export", "ruff", "mkdocs"), words


def check_requirements(arguments):
    """Raises if an extra in a line of pip does not exist."""
    assert arguments[0] == "install"
    found = [re.fullmatch(r"([\w.-]+)\[(.*)\]", word) for word in arguments]
    for name, extras in (match.groups() for match in found if match):
        if name == ".":
            known = set(pyproject()["optional-dependencies"])
        else:
            known = set(metadata(name).get_all("Provides-Extra", ()))
        assert set(extras.split(",")) <= known, (name, extras)


def pyproject():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


class Parsed(Exception):
    """The arguments are good: the command would now load the package."""


def parse(words, monkeypatch):
    """Runs `keras-clmae` up to where its work begins."""
    make_paths(words)

    def load_package(**_):
        raise Parsed

    name = words[0].replace("-", "_")
    if name in ("knn", "linear_probe", "finetune", "mask_statistics"):
        name = "evaluation"
    module = importlib.import_module(f"keras_clmae.cli.{name}")
    if not hasattr(module, "load_package"):
        # It does all its work without.
        cli.run(words)
        return
    monkeypatch.setattr(module, "load_package", load_package)
    with pytest.raises(Parsed):
        cli.run(words)


def make_paths(words):
    """Makes what a command reads: folders of images, runs, files."""
    command, *others = words
    starts = command == "pretrain" and "--resume" not in words
    # What the recipe names.
    others.append("folder:cifar10")
    for word in others:
        path = pathlib.Path(word.removeprefix("folder:"))
        if word.startswith("folder:") or word == "photos":
            path.mkdir(parents=True, exist_ok=True)
        elif path.parts[:1] == ("runs",) and not starts:
            folder = path.parent if path.suffix else path
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "config.yaml").write_text(
                f"run_dir: {folder}\npreset: tiny_patch4_32\n"
            )
        if (ROOT / path).is_file() and path.parts[:1] == ("docs",):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes((ROOT / path).read_bytes())
        if command == "convert" and path.suffix:
            path.touch()
        elif command == "search" and path.suffix == ".jpg":
            path.touch()
        elif command == "check-data" and not word.startswith("-"):
            path.mkdir(parents=True, exist_ok=True)


def print_config(name, arguments, monkeypatch):
    """Parses by jsonargparse's option that prints what was parsed."""
    monkeypatch.setattr(sys, "argv", [name, *arguments, "--print_config"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(
            str(ROOT / "scripts" / f"{name}.py"), run_name="__main__"
        )
    assert ended.value.code in (0, None)


@ONCE
@pytest.mark.parametrize("page", pages_with("yaml"))
def test_recipes(page, tmp_path, monkeypatch):
    pytest.importorskip("jsonargparse")
    monkeypatch.chdir(tmp_path)
    for code in blocks(page, "yaml"):
        recipe = tmp_path / "recipe.yaml"
        recipe.write_text(code)
        data = re.findall(r"^data: (folder:.*)$", code, re.M)
        make_paths(["pretrain", *data])
        if re.search(r"^methods:", code, re.M):
            parse(["study", str(recipe)], monkeypatch)
            continue
        words = ["pretrain", f"--config={recipe}", "--run_dir=new"]
        if not re.search(r"^(preset|model):", code, re.M):
            # It shows other settings than the sizes.
            words.append("--preset=tiny_patch4_32")
        parse(words, monkeypatch)


@ONCE
def test_files_that_are_named_exist():
    for page, path in PAGES.items():
        text = path.read_text(encoding="utf-8")
        if path.parent == ROOT:
            for link in re.findall(r"\]\(((?!http)[^)#]+)", text):
                assert (ROOT / link).exists(), (page, link)
        for name in re.findall(
            r"(?:scripts|tests)/[\w/]+\.(?:py|sh|yaml)", text
        ):
            assert (ROOT / name).exists(), (page, name)


def imported_names(code):
    """Names that a package imports on every backend, or at first use."""
    nodes = ast.parse(code).body
    for node in list(nodes):
        if isinstance(node, ast.If) and ast.unparse(node.test) == (
            "TYPE_CHECKING"
        ):
            nodes += node.body
    return {
        alias.name
        for node in nodes
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    } - {"__version__", "TYPE_CHECKING"}


def test_api_pages_name_everything_public():
    for path in sorted((DOCS / "api").glob("*.md")):
        name = "" if path.stem == "index" else f".{path.stem}"
        module = importlib.import_module(f"keras_clmae{name}")
        public = imported_names(pathlib.Path(module.__file__).read_text())
        if path.stem == "index":
            folders = {p.stem for p in (DOCS / "api").glob("*.md")}
            named = folders - {"index"}
        else:
            named = set()
        text = path.read_text(encoding="utf-8")
        entries = re.findall(r"^::: .*\.(\w+)$", text, re.M)
        assert len(entries) == len(set(entries)), path.name
        named |= set(entries)
        assert public <= named, (path.name, public - named)


@ONCE
def test_pages_build_as_contributing_says(tmp_path):
    for module in ("mkdocs", "mkdocstrings_handlers.python", "material"):
        pytest.importorskip(module)
    (command,) = re.findall(
        r"^\| documentation \| `(mkdocs build .*?)`",
        PAGES["CONTRIBUTING.md"].read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    # The pages are written beside what they are made from.
    for name in ("docs", "keras_clmae", "mkdocs.yml"):
        (tmp_path / name).symlink_to(ROOT / name)
    built = subprocess.run(
        [sys.executable, "-m", *shlex.split(command)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    assert not re.search("^WARNING", built.stdout + built.stderr, re.MULTILINE)
    site = tmp_path / "site"
    page = (site / "api" / "models" / "index.html").read_text()
    assert 'id="keras_clmae.models.CLMAE"' in page
    # An address in a docstring is a link.
    assert '<a href="https://arxiv.org/abs/2308.16572">' in page
    # Notebooks lie elsewhere.
    page = (site / "notebooks" / "3_fine_tune" / "index.html").read_text()
    assert "ImageClassifier" in page
    links = {path: LinkedPage(path) for path in site.rglob("index.html")}
    assert sum(len(page.links) for page in links.values()) > 1000
    for path, page in links.items():
        for link in page.links:
            place, _, anchor = link.partition("#")
            target = (path.parent / place).resolve() if place else path
            if target.is_dir():
                target = target / "index.html"
            assert target.exists(), (path.parent.name, link)
            if anchor and target in links:
                assert anchor in links[target].anchors, (path.parent, link)


class LinkedPage(html.parser.HTMLParser):
    """The links within the site, and the anchors, of a page."""

    def __init__(self, path):
        super().__init__()
        self.links, self.anchors = set(), set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        names = dict(attrs)
        self.anchors.add(names.get("id"))
        for link in (names.get("href"), names.get("src")):
            # Not of other sites, and not figures within the page.
            if link and not re.match(r"[a-z]+:", link):
                self.links.add(urllib.parse.unquote(link))
