"""What the layers compute, as pure functions of tensors.

`keras_kernels` holds them for every backend; `torch_kernels` and `jax_kernels`
hold those that a backend does faster its own way, to the same numbers.
"""

import keras

if keras.backend.backend() == "torch":
    from keras_clmae.kernels.torch_kernels import attention
    from keras_clmae.kernels.torch_kernels import compiled_regions
    from keras_clmae.kernels.torch_kernels import linear
    from keras_clmae.kernels.torch_kernels import transformer_block
else:
    from keras_clmae.kernels.keras_kernels import attention
    from keras_clmae.kernels.keras_kernels import linear
    from keras_clmae.kernels.keras_kernels import transformer_block
