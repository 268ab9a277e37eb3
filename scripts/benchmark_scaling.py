"""Measure the cost of several simulated devices, and predict that of GPUs."""

import json
import os
import socket
import subprocess
import sys
import time

from rich.console import Console
from rich.table import Table

FORMULA = (
    "efficiency = compute / (compute + communication), where\n"
    "compute = images per GPU * FLOP per image / (share of peak * peak)\n"
    "communication = 2 (g - 1) / g * bytes / bandwidth inside a node\n"
    "              + 2 (m - 1) / m * bytes / g / bandwidth between nodes\n"
    "              + 2 (g + m - 2) * latency * messages of 25 MiB,\n"
    "n GPUs in m nodes of g: a ring inside each node, then one ring between\n"
    "nodes for each share of a node's GPU (https://arxiv.org/abs/1807.11205);\n"
    "nothing overlaps with the computation."
)


def scaling(
    devices: list[int] = [1, 2, 4],  # noqa: B006
    preset: str = "tiny_patch4_32",
    batch_size: int = 16,
    steps: int = 3,
    predicted_preset: str = "base_patch16_224",
    images_per_gpu: int = 256,
    # NVIDIA A100 SXM: dense bfloat16 peak, NVLink in one direction (its data
    # sheet); a DGX A100 has one 200 Gb/s network adapter for each GPU.
    peak_teraflops: float = 312.0,
    share_of_peak: float = 0.4,
    gigabytes_inside: float = 300.0,
    gigabytes_between: float = 25.0,
    gpus_per_node: int = 8,
    latency_microseconds: float = 5.0,
) -> None:
    """Measures simulated devices and predicts the efficiency of many GPUs.

    Simulated devices share the cores of this machine: their images/s show what
    the distribution costs, not what it gains.

    Args:
        devices: Numbers of simulated devices.
        preset: Size that is measured.
        batch_size: Images in a step, on all devices together.
        steps: Steps that are timed.
        predicted_preset: Size that is predicted.
        images_per_gpu: Images in a step on each GPU.
        peak_teraflops: Peak of a GPU, in 10**12 FLOP/s.
        share_of_peak: Share of it that the step reaches; measure it.
        gigabytes_inside: Bandwidth of a GPU inside a node, 10**9 bytes/s.
        gigabytes_between: Bandwidth of a GPU between nodes, 10**9 bytes/s.
        gpus_per_node: GPUs in a node.
        latency_microseconds: Of one message.
    """
    from keras_clmae.runs.step_size import step_size

    size = step_size(preset)
    table = Table("devices", "images/s", "MB sent by each device a step")
    for count in devices:
        seconds = _measure(count, preset, batch_size, steps)
        sent = 2 * (count - 1) / count * communicated_bytes(size, batch_size)
        table.add_row(
            str(count), f"{batch_size / seconds:.1f}", f"{sent / 1e6:.1f}"
        )
    console = Console()
    console.print(
        f"{preset}, {os.environ.get('KERAS_BACKEND', 'jax')}, batches of "
        f"{batch_size}, simulated devices"
    )
    console.print(table)
    size = step_size(predicted_preset)
    table = Table(
        "GPUs",
        "global batch",
        "MB",
        "ms to compute",
        "ms to send",
        "efficiency",
    )
    for exponent in range(3, 11):
        count = 2**exponent
        volume = communicated_bytes(size, count * images_per_gpu)
        compute = (
            images_per_gpu
            * size.flop_per_image
            / (share_of_peak * peak_teraflops * 1e12)
        )
        communication = communication_seconds(
            volume,
            count,
            gpus_per_node,
            gigabytes_inside * 1e9,
            gigabytes_between * 1e9,
            latency_microseconds * 1e-6,
        )
        table.add_row(
            f"{count:,}",
            f"{count * images_per_gpu:,}",
            f"{volume / 1e6:.0f}",
            f"{1e3 * compute:.0f}",
            f"{1e3 * communication:.1f}",
            f"{compute / (compute + communication):.1%}",
        )
    console.print(f"Predicted for {predicted_preset}")
    console.print(table)
    console.print(FORMULA)


def communicated_bytes(size, batch_size):
    """Counts the bytes that are all-reduced or gathered in one step.

    The gradients of both players in float32, and of every image the patch
    errors, the scores and the mask.

    Args:
        size: a `StepSize`.
        batch_size: int. Images in a step, on all devices together.

    Returns:
        int.
    """
    gradients = size.autoencoder_parameters + size.masking_parameters
    return 4 * (gradients + 3 * batch_size * size.tokens)


def communication_seconds(volume, count, per_node, inside, between, latency):
    """Computes the seconds to all-reduce `volume` bytes.

    Args:
        volume: bytes.
        count: int. GPUs.
        per_node: int. GPUs in a node.
        inside: bytes/s of a GPU inside its node.
        between: bytes/s of a GPU between nodes.
        latency: seconds of one message.

    Returns:
        Seconds.
    """
    group = min(count, per_node)
    nodes = count // group
    # Messages of 25 MiB, the buckets of the PyTorch trainer.
    messages = max(1, volume / (25 * 2**20))
    return (
        2 * (group - 1) / group * volume / inside
        + 2 * (nodes - 1) / nodes * volume / group / between
        + 2 * ((group - 1) + (nodes - 1)) * latency * messages
    )


def _measure(count, preset, batch_size, steps):
    """Measures seconds per step on simulated devices, in new processes."""
    backend = os.environ.setdefault("KERAS_BACKEND", "jax")
    processes = count if backend == "torch" else 1
    setup = {"strategy": "none"}
    if count > 1:
        setup = {} if processes > 1 else {"simulated_devices": count}
    task = json.dumps(
        {
            "setup": setup,
            "preset": preset,
            "batch_size": batch_size,
            "steps": steps,
        }
    )
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = str(listener.getsockname()[1])
    started = []
    for index in range(processes):
        environment = dict(os.environ)
        if processes > 1:
            environment |= {
                "RANK": str(index),
                "WORLD_SIZE": str(processes),
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": port,
            }
        started.append(
            subprocess.Popen(
                [sys.executable, __file__, task],
                env=environment,
                stdout=subprocess.PIPE,
                text=True,
            )
        )
    outputs = [process.communicate()[0] for process in started]
    if any(process.returncode for process in started):
        sys.exit(f"error: the measurement on {count} devices failed.")
    return float(outputs[0].splitlines()[-1])


def _train(task):
    import numpy as np

    import keras_clmae

    plan = keras_clmae.distribution.setup(**task["setup"])
    model = keras_clmae.models.CLMAE.from_preset(
        f"clmae_{task['preset']}", load_weights=False
    )
    model.compile(keras_clmae.optimizers.AdamW(1e-4), curriculum=1.0)
    batch_size = plan.local_batch_size(task["batch_size"])
    draw = np.random.default_rng(plan.process_index)
    images = draw.normal(size=(batch_size, *model.encoder.image_shape))

    def train(steps):
        started = time.perf_counter()
        batches = np.tile(images.astype("float32"), (steps, 1, 1, 1))
        model.fit(batches, batch_size=batch_size, verbose=0)
        return (time.perf_counter() - started) / steps

    train(1)
    print(train(task["steps"]))


if __name__ == "__main__":
    _train(json.loads(sys.argv[1]))
