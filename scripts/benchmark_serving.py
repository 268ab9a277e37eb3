"""Serve one contestant of `benchmark.py step` in a process of its own.

A contestant is made once, with its own backend, and then timed again and again
in turn with the others.
"""

import time

from benchmark_keras_step import KerasStep
from benchmark_torch_steps import HuggingFaceStep
from benchmark_torch_steps import PublishedStep

MAKERS = {
    "keras_clmae": KerasStep,
    "published": PublishedStep,
    "huggingface": HuggingFaceStep,
}


def serve(contestant, connection):
    """Makes a contestant, then answers requests until `None` comes.

    Sends what making it measured, then for every integer received the seconds
    of a step, the processor's seconds, and the peak memory, of that many steps;
    an exception is sent as its text.
    """
    try:
        step = MAKERS[contestant.name](contestant)
        start = time.perf_counter()
        step.run(1)
        compile_seconds = time.perf_counter() - start
        step.run(1)
        connection.send(
            {
                "compile_seconds": compile_seconds,
                "parameters": step.parameters,
                "peak_gflops": matrix_product_peak(step),
            }
        )
        step.release_memory()
        while (steps := connection.recv()) is not None:
            if steps > 1:
                # While others had their turn the system took caches and pages:
                # little beside a step that lasts for the whole round.
                step.run(1)
            seconds, worked = step.run(steps)
            connection.send(
                (seconds / steps, worked / steps, step.peak_memory())
            )
            step.release_memory()
    except Exception as error:
        first_line = str(error).partition("\n")[0]
        connection.send(f"{type(error).__name__}: {first_line}")


def matrix_product_peak(step, rounds=5):
    """Measures GFLOP/s of the fastest of a few square matrix products.

    Args:
        step: what is timed; it multiplies as many times in a round as keep the
            device busy while the host asks for the result.
        rounds: int.
    """
    import numpy as np

    side, times = (8192, 10) if step.device == "gpu" else (2048, 1)
    draw = np.random.default_rng(0)
    # Zeros or ones would be multiplied faster.
    matrix = draw.normal(size=(side, side), scale=side**-0.5)
    multiply = step.multiplication(matrix.astype("float32"))
    seconds = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        multiply(times)
        seconds.append((time.perf_counter() - start) / times)
    return 2 * side**3 / min(seconds[1:]) / 1e9


def count_flop(contestant):
    """Counts GFLOP per image of a step, by PyTorch's counter.

    The counter does not see inside fused attention kernels, so attention is
    computed by plain matrix products while it counts.
    """
    from torch.nn.attention import SDPBackend
    from torch.nn.attention import sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    step = MAKERS[contestant.name](contestant)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as count:
        step.run(1)
    return count.get_total_flops() / contestant.batch_size / 1e9
