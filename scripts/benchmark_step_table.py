"""Show what `benchmark.py step` measured, and write it to a file."""

import importlib.metadata
import importlib.util
import json
import os
import platform
import time
from pathlib import Path

from rich import box
from rich.table import Table

BACKENDS = ("jax", "tensorflow", "torch")
# Units of x86 and Arm that decide how fast matrix products are, by the names
# that Linux gives them.
UNITS = {
    "avx2": "avx2",
    "avx512f": "avx512",
    "avx512_bf16": "avx512_bf16",
    "amx_bf16": "amx",
    "asimd": "neon",
    "sve": "sve",
    "bf16": "bf16",
}


def installed_backends():
    """Lists the backends whose library is installed."""
    return [name for name in BACKENDS if importlib.util.find_spec(name)]


def read_processor(path="/proc/cpuinfo"):
    """Reads the processor's name and its `UNITS`, where Linux tells them."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or platform.machine(), ()
    named = dict(
        (part.strip() for part in line.split(":", 1))
        for line in text.splitlines()
        if ":" in line
    )
    flags = named.get("flags", named.get("Features", "")).split()
    units = tuple(name for flag, name in UNITS.items() if flag in flags)
    return named.get("model name", platform.machine()), units


def describe_load():
    """Words a warning where other programs use the machine, or `None`."""
    load, processors = os.getloadavg()[0], len(os.sched_getaffinity(0))
    if load < 0.5 * processors:
        return None
    words = (
        f"Other programs use this machine (load {load:.1f} on {processors} "
        "processors)."
    )
    if os.environ.get("OMP_NUM_THREADS") != "1":
        words += (
            " PyTorch's threads wait for each other then, which makes it many "
            "times slower: set OMP_NUM_THREADS=1 to compare."
        )
    return words


def table_of(rows):
    """Makes a rich table of results of one size, method and batch."""
    first = rows[0] if rows else {}
    title = "{method} {size}, batch {batch_size}".format(**first)
    peaks = ", ".join(
        f"{peak:.0f} ({precision})" for precision, peak in _peaks(rows).items()
    )
    table = Table(
        title=title,
        caption=f"Matrix products reach {peaks} GFLOP/s on this machine.",
        box=box.SIMPLE_HEAD,
        padding=0,
        pad_edge=False,
    )
    table.add_column("", no_wrap=True)
    for heading in (
        "images/s",
        "min",
        "max",
        "ratio",
        "cpu",
        "first, s",
        "GiB",
        "GFLOP",
        "peak",
    ):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            row["label"].removeprefix("keras_clmae "),
            *(
                _show_speed(row[name])
                for name in ("images_per_second", "slowest", "fastest")
            ),
            _show(row["ratio"], "{:.2f}"),
            _show(row["processor_ratio"], "{:.2f}"),
            f"{row['compile_seconds']:.1f}",
            f"{row['peak_memory_bytes'] / 2**30:.2f}",
            _show(row["gflop_per_image"], "{:.4g}"),
            _show(row["share_of_peak"], "{:.0%}"),
        )
    return table


def _peaks(rows):
    return {row["precision"]: row["matrix_product_peak_gflops"] for row in rows}


def _show_speed(value):
    """Writes three digits: large models do less than an image per second."""
    return f"{value:,.0f}" if value >= 100 else f"{value:#.3g}"


def _show(value, form):
    return "" if value is None else form.format(value)


def describe_fastest(results):
    """Words which backend and precision is fastest, and by how much.

    Args:
        results: list of dicts, at least one, as `compare` gives them.

    Returns:
        str. By the clock; and by processor time, which other programs on the
        machine disturb less, where that names another one.
    """

    def name(row):
        return f"{row['backend']} in {row['precision']}"

    first, *others = sorted(results, key=lambda row: -row["images_per_second"])
    words = f"Fastest here: {name(first)}"
    if others:
        ratio = first["images_per_second"] / others[0]["images_per_second"]
        words += f", {ratio:.2f} times as fast as {name(others[0])}"
    thrifty = min(results, key=lambda row: row["processor_seconds"])
    if thrifty is not first:
        words += f"; least processor time: {name(thrifty)}"
    return f"{words}."


def write_results(path, results):
    """Writes the results so far, with the machine they were measured on."""
    processor, units = read_processor()
    document = {
        "date": time.strftime("%Y-%m-%d"),
        "machine": platform.machine(),
        "processor": processor,
        "units": units,
        "processors": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "versions": {
            name: importlib.metadata.version(name)
            for name in (
                "keras",
                *installed_backends(),
                "transformers",
            )
            if importlib.util.find_spec(name)
        },
        "results": results,
    }
    temporary = Path(f"{path}.tmp")
    temporary.write_text(json.dumps(document, indent=2))
    temporary.replace(path)
