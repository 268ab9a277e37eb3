"""Make this package's training step for `benchmark.py step`."""

import importlib.util
import os
import runpy

from benchmark_contestants import FEW_MASKING_LAYERS
from benchmark_contestants import clocks
from benchmark_contestants import has_few_layers
from benchmark_contestants import random_images
from benchmark_contestants import resident
from benchmark_contestants import sizes_of
from benchmark_contestants import torch_peak_memory


def keep_freed_memory():
    """Keeps memory between steps on JAX, as the command `keras-clmae` does.

    The function is taken from its file: importing the package starts threads,
    and then it is too late.

    Returns:
        bool. Whether every later step keeps its memory.
    """
    (folder,) = importlib.util.find_spec(
        "keras_clmae"
    ).submodule_search_locations
    path = os.path.join(folder, "freed_memory.py")
    return runpy.run_path(path)["keep_freed_memory"]()


class KerasStep:
    """This package's step, as `model.fit` runs it."""

    def __init__(self, contestant):
        keep_freed_memory()
        import keras

        from keras_clmae import LinearCurriculum
        from keras_clmae import models
        from keras_clmae.optimizers import AdamW

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
            if has_few_layers(contestant):
                sizes["masking_module"] = models.MaskingModule(
                    FEW_MASKING_LAYERS
                )
            self.model = models.CLMAE.from_sizes(**sizes)
            options["curriculum"] = LinearCurriculum(20_000)
            options["masking_update_period"] = contestant.period
            if contestant.variant == "simultaneous":
                options["update"] = "simultaneous"
        self.model.compile(optimizer, **options)
        self.parameters = self.model.count_params()
        self.images = random_images(contestant)

    def run(self, steps):
        """Trains so many steps; returns their time by both clocks."""
        import keras

        readings = []
        # At the end of an epoch its numbers are known, and so computed. What
        # follows is no step: TensorFlow at times sleeps for most of a second
        # before it lets go of the iterator, once for each `fit`.
        watch = keras.callbacks.LambdaCallback(
            on_epoch_begin=lambda *_: readings.append(clocks()),
            on_epoch_end=lambda *_: readings.append(clocks()),
        )
        self.model.fit(
            _same_batch(self.images, steps),
            shuffle=False,
            verbose=0,
            callbacks=[watch],
        )
        return readings[1] - readings[0]

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
        return torch_peak_memory() if self.backend == "torch" else resident()


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
