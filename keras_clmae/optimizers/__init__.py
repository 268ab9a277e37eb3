"""Optimize by rules that Keras lacks: faster, or needed by the protocols.

Each backend has a file with its AdamW, `BackendAdamW`.
"""

import keras

if keras.backend.backend() == "jax":
    from keras_clmae.optimizers.jax_adamw import BackendAdamW
elif keras.backend.backend() == "tensorflow":
    from keras_clmae.optimizers.tensorflow_adamw import BackendAdamW
elif keras.backend.backend() == "torch":
    from keras_clmae.optimizers.torch_adamw import BackendAdamW
else:
    raise RuntimeError(
        "keras_clmae trains on the Keras backends 'jax', 'tensorflow' and "
        f"'torch'. Received: KERAS_BACKEND={keras.backend.backend()!r}"
    )
from keras_clmae.optimizers.adamw import AdamW
from keras_clmae.optimizers.lars import LARS
from keras_clmae.optimizers.layer_decay import LayerDecayAdamW
from keras_clmae.optimizers.schedules import scale_learning_rate
from keras_clmae.optimizers.schedules import warmup_cosine
from keras_clmae.optimizers.weight_decay import NO_WEIGHT_DECAY
