"""Time training steps on every backend, and those of other code."""

import concurrent.futures
import contextlib
import dataclasses
import functools
import importlib.metadata
import importlib.util
import json
import multiprocessing
import os
import platform
import statistics
import time
from pathlib import Path
from typing import Literal

from benchmark_contestants import SIZES
from benchmark_contestants import Contestant
from benchmark_contestants import count_flop
from benchmark_contestants import serve
from rich import box
from rich.console import Console
from rich.table import Table

BACKENDS = ("jax", "tensorflow", "torch")
# Of CL-MAE and MAE.
SHARED_VARIANTS = ("exact", "compiled", "checkpointed")
# Seconds that the steps between two looks at the clock should take.
ROUND_SECONDS = 2.0


def step(
    sizes: tuple[str, ...] = (
        "tiny_patch4_32",
        "small_patch16_96",
        "base_patch16_224",
    ),
    methods: tuple[Literal["clmae", "mae"], ...] = ("clmae", "mae"),
    backends: tuple[str, ...] | None = None,
    batch_sizes: tuple[int, ...] | None = None,
    variants: tuple[str, ...] = ("exact",),
    rounds: int = 7,
    reference: str | None = None,
    reference_variants: tuple[Literal["exact", "vectorized"], ...] = ("exact",),
    peer: Literal["huggingface"] | None = None,
    device: Literal["cpu", "gpu"] = "cpu",
    precision: Literal["float32", "bfloat16"] = "float32",
    output: str = "step.json",
) -> None:
    """Times training steps, every contestant in turn in every round.

    Each contestant lives in a process of its own. In a round each runs for
    about two seconds, one after the other, so that a machine that slows down
    slows down all of them; ratios are medians over rounds.

    Args:
        sizes: Of tiny_patch4_32, small_patch16_96, base_patch16_224 and
            large_patch16_224.
        methods: clmae, mae, or both.
        backends: Defaults to every backend that is installed.
        batch_sizes: Images in a step, each timed. Defaults to 64, 32, 8 and 4
            for the four sizes.
        variants: exact, compiled (jit_compile=True), checkpointed
            (gradient_checkpointing); of CL-MAE also period=K
            (masking_update_period) and simultaneous.
        rounds: How often each is timed, at least 5.
        reference: A clone of the published CL-MAE code, to be timed too.
        reference_variants: vectorized replaces its loop over pairs of images.
        peer: huggingface times transformers' ViTMAEForPreTraining beside MAE.
        device: cpu or gpu, as the backends see it.
        precision: bfloat16 is mixed precision; autocast in the others' code.
        output: JSON file of the results.
    """
    if rounds < 5:
        raise ValueError(f"`rounds` must be at least 5. Received: {rounds}")
    unknown = set(sizes) - set(SIZES)
    if unknown:
        raise ValueError(
            f"`sizes` must be of {', '.join(SIZES)}. "
            f"Received: {', '.join(sorted(unknown))}"
        )
    if device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
        os.environ["JAX_PLATFORMS"] = "cpu"
    # XLA would otherwise take most of the memory for the first process.
    os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
    console = Console()
    results = []
    for size in sizes:
        for method in methods:
            for batch_size in batch_sizes or (SIZES[size][2],):
                shared = {
                    "method": method,
                    "size": size,
                    "batch_size": batch_size,
                    "precision": precision,
                    "device": device,
                }
                contestants = [
                    Contestant(
                        "keras_clmae",
                        backend,
                        variant=variant,
                        **shared,
                    )
                    for backend in backends or installed_backends()
                    for variant in variants
                    if method == "clmae" or variant in SHARED_VARIANTS
                    # JAX compiles in any case.
                    if (backend, variant) != ("jax", "compiled")
                ]
                if reference and method == "clmae":
                    contestants += [
                        Contestant(
                            "published",
                            "torch",
                            variant=variant,
                            path=str(Path(reference).resolve()),
                            **shared,
                        )
                        for variant in reference_variants
                    ]
                if peer and method == "mae":
                    contestants.append(Contestant(peer, "torch", **shared))
                rows = compare(contestants, rounds, console)
                console.print(table_of(rows))
                results += rows
                write_results(output, results)
    console.print(f"Results: {output}")


def installed_backends():
    """Lists the backends whose library is installed."""
    return [name for name in BACKENDS if importlib.util.find_spec(name)]


def compare(contestants, rounds, console):
    """Times contestants in turn.

    Args:
        contestants: list of `Contestant`.
        rounds: int.
        console: rich `Console`, for the status line.

    Returns:
        List of dicts, one for each contestant that could be timed.
    """
    with contextlib.ExitStack() as stack:
        status = stack.enter_context(console.status(""))
        runners = []
        for contestant in contestants:
            status.update(f"{describe(contestant)}: compiling")
            runner = _Runner(contestant)
            stack.callback(runner.close)
            if runner.error:
                console.print(
                    f"{describe(contestant)} cannot be timed: {runner.error}"
                )
            else:
                runners.append(runner)
        for runner in runners:
            runner.choose_steps()
        for index in range(rounds):
            for runner in runners:
                status.update(
                    f"{describe(runner.contestant)}: round {index + 1}"
                )
                runner.time()
    # The others' code, or else the first of ours.
    baseline = next(
        (r for r in runners if r.contestant.name != "keras_clmae"),
        runners[0] if runners else None,
    )
    peak = max((r.made["peak_gflops"] for r in runners), default=0.0)
    return [_row(runner, baseline, peak) for runner in runners]


def describe(contestant):
    return (
        f"{contestant.label}, {contestant.method} {contestant.size}, "
        f"batch {contestant.batch_size}"
    )


class _Runner:
    """Handle of a contestant that runs in a process of its own."""

    def __init__(self, contestant):
        self.contestant = contestant
        self.seconds = []
        self.processor_seconds = []
        self.peak_memory = 0
        self.steps = 1
        context = multiprocessing.get_context("spawn")
        self.connection, other = context.Pipe()
        os.environ["KERAS_BACKEND"] = contestant.backend
        self.process = context.Process(
            target=serve, args=(contestant, other), daemon=True
        )
        self.process.start()
        other.close()
        self.made = self._receive()
        self.error = self.made if isinstance(self.made, str) else None

    def choose_steps(self):
        """Takes as many steps for a round as fill its time, in periods."""
        period = self.contestant.period
        periods = round(ROUND_SECONDS / self._ask()[0] / period)
        self.steps = period * max(1, periods)

    def time(self):
        seconds, worked, self.peak_memory = self._ask()
        self.seconds.append(seconds)
        self.processor_seconds.append(worked)

    def _ask(self):
        self.connection.send(self.steps)
        answer = self._receive()
        if isinstance(answer, str):
            raise RuntimeError(f"{describe(self.contestant)}: {answer}")
        return answer

    def _receive(self):
        try:
            return self.connection.recv()
        except EOFError:
            self.process.join()
            return f"its process ended with status {self.process.exitcode}"

    def close(self):
        with contextlib.suppress(BrokenPipeError):
            self.connection.send(None)
        self.process.join(timeout=30)
        self.process.kill()


def _counted_work(contestant):
    """Counts GFLOP per image by PyTorch; `None` where it cannot be counted."""
    # Skipping the masking phase at some steps cannot be seen in one.
    if not importlib.util.find_spec("torch") or contestant.period > 1:
        return None
    # The other variants do the same matrix products, or twice those that
    # checkpoints spare memory for, which is no more of a model's work.
    variant = contestant.variant
    return _count_flop(
        dataclasses.replace(
            contestant,
            backend="torch",
            batch_size=2,
            precision="float32",
            device="cpu",
            variant=variant if variant == "simultaneous" else "exact",
        )
    )


@functools.cache
def _count_flop(contestant):
    os.environ["KERAS_BACKEND"] = "torch"
    with concurrent.futures.ProcessPoolExecutor(
        1, mp_context=multiprocessing.get_context("spawn")
    ) as pool:
        return pool.submit(count_flop, contestant).result()


def _row(runner, baseline, peak):
    contestant = runner.contestant
    speeds = [contestant.batch_size / seconds for seconds in runner.seconds]
    gflop = _counted_work(contestant)
    speed = statistics.median(speeds)
    ratio = processor_ratio = None
    if baseline is not None:
        ratio = _median_ratio(baseline.seconds, runner.seconds)
        processor_ratio = _median_ratio(
            baseline.processor_seconds, runner.processor_seconds
        )
    return {
        **dataclasses.asdict(contestant),
        "label": contestant.label,
        "images_per_second": speed,
        "slowest": min(speeds),
        "fastest": max(speeds),
        "ratio": ratio,
        "processor_seconds": statistics.median(runner.processor_seconds),
        "processor_ratio": processor_ratio,
        "baseline": baseline and baseline.contestant.label,
        "compile_seconds": runner.made["compile_seconds"],
        "peak_memory_bytes": runner.peak_memory,
        "parameters": runner.made["parameters"],
        "gflop_per_image": gflop,
        "matrix_product_peak_gflops": peak,
        "share_of_peak": gflop and gflop * speed / peak,
    }


def _median_ratio(theirs, ours):
    return statistics.median(
        one / other for one, other in zip(theirs, ours, strict=True)
    )


def table_of(rows):
    """Makes a rich table of results of one size, method and batch."""
    first = rows[0] if rows else {}
    title = "{method} {size}, batch {batch_size}, {precision}".format(**first)
    peak = first.get("matrix_product_peak_gflops", 0)
    table = Table(
        title=title,
        caption=f"Matrix products reach {peak:.0f} GFLOP/s on this machine.",
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


def _show_speed(value):
    """Writes three digits: large models do less than an image per second."""
    return f"{value:,.0f}" if value >= 100 else f"{value:#.3g}"


def _show(value, form):
    return "" if value is None else form.format(value)


def write_results(path, results):
    """Writes the results so far, with the machine they were measured on."""
    document = {
        "date": time.strftime("%Y-%m-%d"),
        "machine": platform.machine(),
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
