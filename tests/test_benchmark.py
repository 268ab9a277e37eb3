"""What `scripts/benchmark.py step` compares and says about the machine."""

import importlib
import io
import pathlib
import sys

import pytest

from tests.once import ONCE

for module in ("jsonargparse", "rich"):
    pytest.importorskip(module)

pytestmark = ONCE
SCRIPTS = pathlib.Path(__file__).resolve().parents[1] / "scripts"
ROW = {
    "method": "clmae",
    "size": "tiny_patch4_32",
    "batch_size": 64,
    "images_per_second": 20.0,
    "slowest": 19.0,
    "fastest": 21.0,
    "ratio": 1.0,
    "processor_ratio": 1.0,
    "compile_seconds": 1.0,
    "peak_memory_bytes": 2**30,
    "gflop_per_image": None,
    "share_of_peak": None,
}


@pytest.fixture
def load(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    before = set(sys.modules)
    yield importlib.import_module
    for name in set(sys.modules) - before:
        if name.startswith("benchmark"):
            del sys.modules[name]


def test_units_of_the_processor(load, tmp_path):
    path = tmp_path / "cpuinfo"
    path.write_text(
        "processor\t: 0\nmodel name\t: Some Xeon\n"
        "flags\t\t: fpu avx2 avx512f avx512_bf16 amx_bf16 amx_tile\n"
    )
    read = load("benchmark_step_table").read_processor
    units = ("avx2", "avx512", "avx512_bf16", "amx")
    assert read(path) == ("Some Xeon", units)
    path.write_text("Features\t: fp asimd bf16\n")
    assert read(path)[1] == ("neon", "bf16")
    assert read(tmp_path / "none")[1] == ()


def test_contestants_of_two_precisions(load):
    step = load("benchmark_step")
    labels = [
        contestant.label
        for precision in ("float32", "bfloat16")
        for contestant in step._contestants(
            ["jax", "torch"],
            ("exact", "compiled"),
            pathlib.Path("clone"),
            ("exact",),
            None,
            method="clmae",
            size="tiny_patch4_32",
            batch_size=64,
            precision=precision,
        )
    ]
    assert labels == [
        "keras_clmae jax",
        "keras_clmae torch",
        "keras_clmae torch compiled",
        "published",
        "keras_clmae jax bfloat16",
        "keras_clmae torch bfloat16",
        "keras_clmae torch compiled bfloat16",
        "published bfloat16",
    ]


def test_table_of_two_precisions(load):
    from rich.console import Console

    rows = [
        {
            **ROW,
            "label": f"keras_clmae torch {precision}",
            "precision": precision,
            "matrix_product_peak_gflops": peak,
        }
        for precision, peak in (("float32", 90.0), ("bfloat16", 180.0))
    ]
    console = Console(file=io.StringIO(), width=120)
    console.print(load("benchmark_step_table").table_of(rows))
    printed = " ".join(console.file.getvalue().split())
    assert "clmae tiny_patch4_32, batch 64" in printed
    assert "torch bfloat16" in printed
    assert "reach 90 (float32), 180 (bfloat16) GFLOP/s" in printed


def test_which_is_fastest(load):
    describe = load("benchmark_step_table").describe_fastest
    torch, jax = (
        {
            "backend": backend,
            "precision": precision,
            "images_per_second": speed,
            "processor_seconds": seconds,
        }
        for backend, precision, speed, seconds in (
            ("torch", "bfloat16", 30.0, 2.0),
            ("jax", "float32", 20.0, 3.0),
        )
    )
    expected = "Fastest here: torch in bfloat16"
    assert describe([torch]) == f"{expected}."
    expected += ", 1.50 times as fast as jax in float32"
    assert describe([jax, torch]) == f"{expected}."
    jax["processor_seconds"] = 1.0
    expected += "; least processor time: jax in float32."
    assert describe([jax, torch]) == expected


def test_other_programs(load, monkeypatch):
    table = load("benchmark_step_table")
    monkeypatch.setattr(table.os, "sched_getaffinity", lambda _: {0, 1})
    monkeypatch.setattr(table.os, "getloadavg", lambda: (0.9, 5.0, 5.0))
    assert table.describe_load() is None
    monkeypatch.setattr(table.os, "getloadavg", lambda: (3.0, 0.0, 0.0))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert "(load 3.0 on 2 processors)" in table.describe_load()
    assert "set OMP_NUM_THREADS=1" in table.describe_load()
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert table.describe_load().endswith("processors).")


def test_wrong_arguments(load):
    step = load("benchmark_step").step
    with pytest.raises(ValueError, match="`rounds` must be at least 5"):
        step(rounds=4)
    with pytest.raises(ValueError, match="`sizes` must be of"):
        step(sizes=("huge",))
