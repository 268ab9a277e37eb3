"""The training steps that `benchmark.py step` times, each in its own process.

A contestant is made once, in a process of its own with its own backend, and
then timed again and again in turn with the others.
"""

import contextlib
import dataclasses
import importlib
import resource
import sys
import time

import numpy as np

# Name of a size: preset, side of the image in pixels, images in a batch.
SIZES = {
    "tiny_patch4_32": ("tiny_patch4_32", 32, 64),
    "small_patch16_96": ("small_patch16_224", 96, 32),
    "base_patch16_224": ("base_patch16_224", 224, 8),
    "large_patch16_224": ("large_patch16_224", 224, 4),
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
        return " ".join(part for part in parts if part)

    @property
    def period(self):
        """Number of steps of which every such number does the same work."""
        name, _, period = self.variant.partition("=")
        return int(period) if name == "period" else 1


def serve(contestant, connection):
    """Makes a contestant, then answers requests until `None` comes.

    Sends what making it measured, then for every integer received the seconds
    of a step, the processor's seconds, and the peak memory, of that many steps;
    an exception is sent as its text.
    """
    try:
        makers = {
            "keras_clmae": _KerasStep,
            "published": _PublishedStep,
            "huggingface": _HuggingFaceStep,
        }
        step = makers[contestant.name](contestant)
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


def random_images(contestant):
    """Draws one batch of noise, (batch, side, side, 3)."""
    _, side, _ = SIZES[contestant.size]
    shape = (contestant.batch_size, side, side, 3)
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def sizes_of(contestant):
    """Returns the preset's sizes, for images of the contestant's side."""
    from keras_clmae.models.presets import PRESETS

    preset, side, _ = SIZES[contestant.size]
    return {**PRESETS[preset], "image_shape": (side, side, 3)}


def _clocks():
    """Reads the clock, and the processor's seconds of this process."""
    return np.array([time.perf_counter(), time.process_time()])


class _KerasStep:
    """This package's step, as `model.fit` runs it."""

    def __init__(self, contestant):
        import keras

        from keras_clmae import models
        from keras_clmae.optimizers import AdamW
        from keras_clmae.trainers import keep_freed_memory

        # As `keras-clmae pretrain` does.
        keep_freed_memory()
        if contestant.precision == "bfloat16":
            keras.config.set_dtype_policy("mixed_bfloat16")
        self.backend = contestant.backend
        self.device = contestant.device
        self.precision = contestant.precision
        optimizer = AdamW(1e-4, weight_decay=0.05, beta_2=0.95)
        sizes = {
            **sizes_of(contestant),
            "gradient_checkpointing": contestant.variant == "checkpointed",
        }
        options = {}
        if contestant.variant == "compiled":
            options["jit_compile"] = True
        if contestant.method == "mae":
            self.model = models.MaskedAutoencoder.from_sizes(**sizes)
        else:
            self.model = models.CLMAE.from_sizes(**sizes)
            options["curriculum"] = lambda step: 1.0 - 1e-4 * step
            options["masking_update_period"] = contestant.period
            if contestant.variant == "simultaneous":
                options["update"] = "simultaneous"
        self.model.compile(optimizer, **options)
        self.parameters = self.model.count_params()
        self.images = random_images(contestant)

    def run(self, steps):
        """Trains so many steps; returns their time by both clocks."""
        import keras

        clocks = []
        # At the end of an epoch its numbers are known, and so computed. What
        # follows is no step: TensorFlow at times sleeps for most of a second
        # before it lets go of the iterator, once for each `fit`.
        watch = keras.callbacks.LambdaCallback(
            on_epoch_begin=lambda *_: clocks.append(_clocks()),
            on_epoch_end=lambda *_: clocks.append(_clocks()),
        )
        self.model.fit(
            _same_batch(self.images, steps),
            shuffle=False,
            verbose=0,
            callbacks=[watch],
        )
        return clocks[1] - clocks[0]

    def multiplication(self, matrix):
        """Makes a function that multiplies a matrix by itself some times."""
        import keras

        matrix = keras.ops.convert_to_tensor(matrix, self.precision)
        product = keras.ops.matmul
        if self.backend == "jax":
            import jax

            product = jax.jit(product)

        def multiply(times):
            result = matrix
            for _ in range(times):
                result = product(matrix, result)
            # Reading one number waits for the device.
            float(keras.ops.cast(result[0, 0], "float32"))

        return multiply

    def release_memory(self):
        """Frees memory of the device for the other contestants."""
        if self.backend == "torch":
            import torch

            torch.cuda.empty_cache()

    def peak_memory(self):
        if self.backend == "jax":
            import jax

            statistics_ = jax.devices()[0].memory_stats() or {}
            if "peak_bytes_in_use" in statistics_:
                return statistics_["peak_bytes_in_use"]
        return _torch_peak_memory() if self.backend == "torch" else _resident()


def _same_batch(images, steps):
    """Makes a data set of one batch, which is on the device already."""
    import keras

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        # Of a PyDataset it would not know how large the batches are.
        return tf.data.Dataset.from_tensors(images).repeat(steps)

    class Batches(keras.utils.PyDataset):
        def __len__(self):
            return steps

        def __getitem__(self, index):
            return (images,)

    images = keras.ops.convert_to_tensor(images)
    return Batches()


class _TorchStep:
    """Base of the two steps written in plain PyTorch."""

    def __init__(self, contestant, model):
        import torch

        self.device = contestant.device
        self.torch_device = "cuda" if contestant.device == "gpu" else "cpu"
        self.precision = getattr(torch, contestant.precision)
        self.model = model.to(self.torch_device).train()
        self.parameters = sum(p.numel() for p in model.parameters())
        self.optimizer = torch.optim.AdamW(
            model.parameters(), 1e-4, betas=(0.9, 0.95), weight_decay=0.05
        )
        self.images = torch.from_numpy(
            random_images(contestant).transpose(0, 3, 1, 2).copy()
        ).to(self.torch_device)

    def autocast(self):
        import torch

        if self.precision == torch.float32:
            return contextlib.nullcontext()
        return torch.autocast(self.torch_device, self.precision)

    def move(self, loss):
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        return loss.item()

    def run(self, steps):
        """Trains so many steps; returns their time by both clocks."""
        clocks = _clocks()
        for _ in range(steps):
            self.step()
        return _clocks() - clocks

    def multiplication(self, matrix):
        """Makes a function that multiplies a matrix by itself some times."""
        import torch

        matrix = torch.from_numpy(matrix).to(self.torch_device, self.precision)

        def multiply(times):
            result = matrix
            for _ in range(times):
                result = matrix @ result
            float(result[0, 0])

        return multiply

    def release_memory(self):
        """Frees memory of the device for the other contestants."""
        import torch

        torch.cuda.empty_cache()

    def peak_memory(self):
        return _torch_peak_memory()


class _PublishedStep(_TorchStep):
    """The published PyTorch code from a clone, its two phases in turn."""

    def __init__(self, contestant):
        import torch

        sys.path.insert(0, contestant.path)
        published = importlib.import_module("models_mae")
        sizes = sizes_of(contestant)
        model = published.MaskedAutoencoderViT(
            img_size=sizes["image_shape"][0],
            patch_size=sizes["patch_size"],
            embed_dim=sizes["hidden_dim"],
            depth=sizes["num_layers"],
            num_heads=sizes["num_heads"],
            decoder_embed_dim=sizes["decoder_hidden_dim"],
            decoder_depth=sizes["decoder_num_layers"],
            decoder_num_heads=sizes["decoder_num_heads"],
        )
        if contestant.variant == "vectorized":
            model.diversity_loss = _vectorized_diversity()
        super().__init__(contestant, model)
        if contestant.method == "mae":
            raise ValueError("The published code has no plain MAE.")
        self.torch = torch

    def step(self):
        model = self.model
        model.freeze_maskingnet()
        with self.autocast():
            loss = model(self.images)
        self.move(loss)
        model.unfreeze_maskingnet()
        model.freeze_backbone()
        with self.autocast():
            reconstruction, *others = model(self.images, train_mask=True)
        self.move(0.5 * reconstruction + sum(others))
        model.unfreeze_backbone()


def _vectorized_diversity():
    """Computes the published diversity term without its loop over pairs."""
    import torch

    class VectorizedDiversity(torch.nn.Module):
        def forward(self, scores):
            distances = torch.nn.functional.pdist(scores.float())
            return torch.exp(-0.1 * distances).mean()

    return VectorizedDiversity()


class _HuggingFaceStep(_TorchStep):
    """`ViTMAEForPreTraining` of the transformers library."""

    def __init__(self, contestant):
        from transformers import ViTMAEConfig
        from transformers import ViTMAEForPreTraining

        sizes = sizes_of(contestant)
        config = ViTMAEConfig(
            image_size=sizes["image_shape"][0],
            patch_size=sizes["patch_size"],
            hidden_size=sizes["hidden_dim"],
            num_hidden_layers=sizes["num_layers"],
            num_attention_heads=sizes["num_heads"],
            intermediate_size=4 * sizes["hidden_dim"],
            decoder_hidden_size=sizes["decoder_hidden_dim"],
            decoder_num_hidden_layers=sizes["decoder_num_layers"],
            decoder_num_attention_heads=sizes["decoder_num_heads"],
            decoder_intermediate_size=4 * sizes["decoder_hidden_dim"],
        )
        super().__init__(contestant, ViTMAEForPreTraining(config))

    def step(self):
        with self.autocast():
            loss = self.model(self.images).loss
        self.move(loss)


def _torch_peak_memory():
    import torch

    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    return _resident()


def _resident():
    # Linux counts in kilobytes.
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def count_flop(contestant):
    """Counts GFLOP per image of a step, by PyTorch's counter.

    The counter does not see inside fused attention kernels, so attention is
    computed by plain matrix products while it counts.
    """
    from torch.nn.attention import SDPBackend
    from torch.nn.attention import sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    makers = {"keras_clmae": _KerasStep, "published": _PublishedStep}
    step = makers.get(contestant.name, _HuggingFaceStep)(contestant)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as count:
        step.run(1)
    return count.get_total_flops() / contestant.batch_size / 1e9
