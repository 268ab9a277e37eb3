"""The table that a conversion prints."""

import io
import types

import pytest

from keras_clmae.runs.converting import weight_table
from tests.once import ONCE

console = pytest.importorskip("rich.console")


@ONCE
def test_long_names_are_whole_in_narrow_windows():
    long = "encoder.layer." + "".join(f"{n}." for n in range(30)) + "weight"
    row = types.SimpleNamespace(ours=["block_0/kernel"], theirs=[long])
    report = types.SimpleNamespace(mapped=[row])
    output = io.StringIO()
    shown = console.Console(file=output, width=60)
    shown.print(weight_table(report, report, ("timm", "huggingface")))
    lines = [
        [cell.strip() for cell in line.split("│")[1:-1]]
        for line in output.getvalue().splitlines()
        if line.startswith("│")
    ]
    cells = ["".join(column) for column in zip(*lines, strict=True)]
    assert cells == [long, "block_0/kernel", long]
