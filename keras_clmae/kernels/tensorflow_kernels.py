"""Compute on TensorFlow: Keras's operations."""

import tensorflow as tf

from keras_clmae.kernels.keras_kernels import attention
from keras_clmae.kernels.keras_kernels import compiled
from keras_clmae.kernels.keras_kernels import gelu
from keras_clmae.kernels.keras_kernels import layer_norm
from keras_clmae.kernels.keras_kernels import linear
from keras_clmae.kernels.keras_kernels import region

__all__ = ["attention", "compiled", "gelu", "layer_norm", "linear", "region"]

NAME = "TensorFlow"

# A step is 1.29 (ViT-Ti/4) to 1.46 times (S/16) as fast as in float32 on an AMD
# EPYC with AVX512-BF16; docs/performance.md.
FAST_BFLOAT16_UNITS = ("avx512_bf16",)


def accelerator():
    """See `jax_kernels.accelerator`."""
    if tf.config.list_physical_devices("TPU"):
        return "TPU", True
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        return None
    details = tf.config.experimental.get_device_details(gpus[0])
    fast = details.get("compute_capability", (0, 0)) >= (8, 0)
    return details.get("device_name", "GPU"), fast
