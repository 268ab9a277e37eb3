"""Time contestants in turn, each in a process of its own."""

import concurrent.futures
import contextlib
import dataclasses
import functools
import importlib.util
import multiprocessing
import os
import statistics

from benchmark_serving import count_flop
from benchmark_serving import serve

# Seconds that the steps between two looks at the clock should take.
ROUND_SECONDS = 2.0


def compare(contestants, rounds, console, count_work=True):
    """Times contestants in turn.

    Args:
        contestants: list of `Contestant`.
        rounds: int.
        console: rich `Console`, for the status line.
        count_work: bool. Whether to count the multiplications, too.

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
    # The others' code, or else ours, in the precision that was named first.
    baseline = next(
        (r for r in runners if r.contestant.name != "keras_clmae"),
        runners[0] if runners else None,
    )
    peaks = {}
    for runner in runners:
        precision = runner.contestant.precision
        peak = max(peaks.get(precision, 0.0), runner.made["peak_gflops"])
        peaks[precision] = peak
    return [
        _row(runner, baseline, peaks[runner.contestant.precision], count_work)
        for runner in runners
    ]


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


def _row(runner, baseline, peak, count_work):
    contestant = runner.contestant
    speeds = [contestant.batch_size / seconds for seconds in runner.seconds]
    gflop = _counted_work(contestant) if count_work else None
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
