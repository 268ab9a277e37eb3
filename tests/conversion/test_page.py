"""The Python of docs/conversion.md runs."""

import importlib.util
import pathlib
import re

import keras
import pytest

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "conversion.md"


@pytest.mark.filterwarnings("ignore")
def test_python_blocks(tmp_path, monkeypatch):
    pytest.importorskip("safetensors")
    pytest.importorskip("keras_hub")
    tool = {"jax": "jax2onnx", "tensorflow": "tf2onnx", "torch": "onnxscript"}
    monkeypatch.chdir(tmp_path)
    names = {}
    text = PAGE.read_text(encoding="utf-8")
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        if 'format="onnx"' in block and not importlib.util.find_spec(
            tool[keras.backend.backend()]
        ):
            continue
        exec(compile(block, PAGE.name, "exec"), names)
    assert names["larger"].image_shape == (64, 48, 3)
    assert names["encoder"].num_heads == 4
