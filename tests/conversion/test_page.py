"""The Python of docs/conversion.md runs."""

import pathlib
import re

import keras
import pytest

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "conversion.md"


@pytest.mark.skipif(
    keras.backend.backend() != "torch", reason="the same on every backend"
)
@pytest.mark.filterwarnings("ignore")
def test_python_blocks(tmp_path, monkeypatch):
    pytest.importorskip("safetensors")
    pytest.importorskip("keras_hub")
    pytest.importorskip("onnxscript")
    monkeypatch.chdir(tmp_path)
    names = {}
    text = PAGE.read_text(encoding="utf-8")
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(compile(block, PAGE.name, "exec"), names)
    assert names["larger"].image_shape == (64, 48, 3)
    assert names["encoder"].num_heads == 4
