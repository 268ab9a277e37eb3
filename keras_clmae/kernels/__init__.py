"""Compute the layers' arithmetic by pure functions of tensors.

Each backend has a file with the same names; `keras_kernels` holds what JAX and
TensorFlow share. `block.py` holds the one body of a transformer block.
"""

import keras

if keras.backend.backend() == "jax":
    from keras_clmae.kernels import jax_kernels as backend_kernels
elif keras.backend.backend() == "tensorflow":
    from keras_clmae.kernels import tensorflow_kernels as backend_kernels
elif keras.backend.backend() == "torch":
    from keras_clmae.kernels import torch_kernels as backend_kernels
    from keras_clmae.kernels.torch_kernels import compiled_regions
else:
    raise RuntimeError(
        "keras_clmae runs on the Keras backends 'jax', 'tensorflow' and "
        f"'torch'. Received: KERAS_BACKEND={keras.backend.backend()!r}"
    )
from keras_clmae.kernels.bfloat16 import bfloat16_is_fast
from keras_clmae.kernels.bfloat16 import describe_bfloat16
from keras_clmae.kernels.bfloat16 import processor_bfloat16_units

linear = backend_kernels.linear
attention = backend_kernels.attention
compiled = backend_kernels.compiled
