"""Files beside the package: the source distribution and the Dockerfile."""

import pathlib
import shutil
import subprocess
import sys
import tarfile
import tomllib

import pytest

from tests.once import ONCE

ROOT = pathlib.Path(__file__).parents[1]
pytestmark = ONCE


def test_the_source_distribution_is_whole(tmp_path):
    pytest.importorskip("setuptools")
    copy = tmp_path / "copy"
    copy.mkdir()
    hidden = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for path in ROOT.iterdir():
        if path.is_file():
            shutil.copy(path, copy)
    for name in ("keras_clmae", "docs", "notebooks", "scripts", "tests"):
        shutil.copytree(ROOT / name, copy / name, ignore=hidden)
    build = "from setuptools import build_meta; build_meta.build_sdist('.')"
    subprocess.run(
        [sys.executable, "-c", build],
        cwd=copy,
        check=True,
        capture_output=True,
    )
    (archive,) = copy.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        packed = {name.partition("/")[2] for name in opened.getnames()}
        metadata = opened.extractfile(
            next(n for n in opened.getnames() if n.endswith("/PKG-INFO"))
        ).read()
    assert b"Author: The keras_clmae developers" in metadata
    assert b"Project-URL: Paper" in metadata
    for pattern in (
        "*.md",
        "constraints.txt",
        "Dockerfile",
        "keras_clmae/recipes/*.yaml",
        "keras_clmae/**/*.py",
        "docs/**/*.md",
        "docs/pictures/*.png",
        "notebooks/*.ipynb",
        "scripts/*.sh",
        "tests/**/*.py",
        "tests/golden/*",
    ):
        files = [path for path in copy.glob(pattern) if path.is_file()]
        assert files, pattern
        wanted = {str(path.relative_to(copy)) for path in files}
        assert wanted <= packed, (pattern, sorted(wanted - packed)[:3])
    assert not any("__pycache__" in name for name in packed)


def test_the_dockerfile_passes_its_linter():
    linter = pathlib.Path(sys.executable).with_name("hadolint")
    if not linter.exists():
        pytest.skip("needs hadolint: pip install -e '.[lint]'")
    checked = subprocess.run(
        [str(linter), "Dockerfile"], cwd=ROOT, capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_what_the_dockerfile_copies_is_sent():
    """The ignore file lets exactly these through, and the extras exist."""
    text = (ROOT / "Dockerfile").read_text()
    copied = {
        word
        for line in text.splitlines()
        if line.startswith("COPY ")
        for word in line.split()[1:-1]
    }
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert copied == {line[1:] for line in lines if line.startswith("!")}
    assert all((ROOT / name).exists() for name in copied)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (extras,) = (
        line.partition("=")[2]
        for line in text.splitlines()
        if line.startswith("ARG EXTRAS=")
    )
    assert set(extras.split(",")) <= set(project["optional-dependencies"])
