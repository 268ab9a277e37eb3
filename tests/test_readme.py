"""The Python of README runs."""

import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parents[1]


def test_python_example():
    pytest.importorskip("sklearn")
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(blocks) == 1
    # One epoch shows as much as sixty.
    code = blocks[0].replace("epochs=60", "epochs=1, verbose=0")
    names = {}
    exec(compile(code, "README.md", "exec"), names)
    assert names["features"].shape[1:] == (17, 64)


def test_pictures_and_programs_exist():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for path in re.findall(r"\]\(((?!http)[^)]+)\)", text):
        assert (ROOT / path).exists(), path
    for path in re.findall(r"scripts/[a-z_]+\.(?:py|sh)", text):
        assert (ROOT / path).exists(), path
