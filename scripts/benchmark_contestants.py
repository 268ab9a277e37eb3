"""Name the contestants that `benchmark.py step` times, and what they share.

NumPy is imported late: it starts threads, and the C library keeps JAX's memory
between steps only where it is told to before the first of them.
"""

import dataclasses
import resource
import time

# Layers of a model as wide as a preset that compiles in seconds, and those of
# its masking module.
FEW_LAYERS = {"num_layers": 2, "decoder_num_layers": 1}
FEW_MASKING_LAYERS = 1
# Name of a size: preset, side of the image in pixels, images in a batch.
SIZES = {
    "tiny_patch4_32": ("tiny_patch4_32", 32, 64),
    "small_patch16_96": ("small_patch16_224", 96, 32),
    "base_patch16_224": ("base_patch16_224", 224, 8),
    "large_patch16_224": ("large_patch16_224", 224, 4),
    "few_layers_patch4_32": ("tiny_patch4_32", 32, 32),
}


@dataclasses.dataclass(frozen=True)
class Contestant:
    """Program that is timed.

    Args:
        name: `"keras_clmae"`, `"published"` or `"huggingface"`.
        backend: the backend of the process.
        method: `"clmae"` or `"mae"`.
        size: key of `SIZES`.
        batch_size: images in a step.
        precision: `"float32"` or `"bfloat16"`.
        device: `"cpu"` or `"gpu"`.
        variant: `"exact"`, `"compiled"` (with `jit_compile=True`),
            `"checkpointed"`, `"period=K"`, `"simultaneous"`; of the published
            code `"exact"` (as it is) or `"vectorized"` (its loop over pairs of
            images replaced by one matrix product).
        path: clone of the published code.
    """

    name: str
    backend: str
    method: str
    size: str
    batch_size: int
    precision: str = "float32"
    device: str = "cpu"
    variant: str = "exact"
    path: str = ""

    @property
    def label(self):
        parts = [self.name, self.backend if self.name == "keras_clmae" else ""]
        parts.append("" if self.variant == "exact" else self.variant)
        parts.append("" if self.precision == "float32" else self.precision)
        return " ".join(part for part in parts if part)

    @property
    def period(self):
        """Number of steps of which every such number does the same work."""
        name, _, period = self.variant.partition("=")
        return int(period) if name == "period" else 1


def random_images(contestant):
    """Draws one batch of noise, (batch, side, side, 3)."""
    _, side, _ = SIZES[contestant.size]
    import numpy as np

    shape = (contestant.batch_size, side, side, 3)
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def has_few_layers(contestant):
    return contestant.size.startswith("few_layers")


def sizes_of(contestant):
    """Returns the preset's sizes, for images of the contestant's side."""
    from keras_clmae.models.presets import PRESETS

    preset, side, _ = SIZES[contestant.size]
    layers = FEW_LAYERS if has_few_layers(contestant) else {}
    return {**PRESETS[preset], "image_shape": (side, side, 3), **layers}


def clocks():
    """Reads the clock, and the processor's seconds of this process."""
    import numpy as np

    return np.array([time.perf_counter(), time.process_time()])


def torch_peak_memory():
    import torch

    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    return resident()


def resident():
    # Linux counts in kilobytes.
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
