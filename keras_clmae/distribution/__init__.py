"""Put a program on several devices and processes, on the backend's own engine.

Each backend has a file with its engine.
"""

import keras

if keras.backend.backend() == "jax":
    from keras_clmae.distribution import jax_engine as engine
elif keras.backend.backend() == "tensorflow":
    from keras_clmae.distribution import tensorflow_engine as engine
elif keras.backend.backend() == "torch":
    from keras_clmae.distribution import torch_engine as engine
else:
    raise RuntimeError(
        "keras_clmae trains on the Keras backends 'jax', 'tensorflow' and "
        f"'torch'. Received: KERAS_BACKEND={keras.backend.backend()!r}"
    )
from keras_clmae.distribution.plan import DistributionPlan
from keras_clmae.distribution.plan import current_plan
from keras_clmae.distribution.plan import is_first_process
from keras_clmae.distribution.plan import setup
from keras_clmae.distribution.processes import LaunchedProcess
from keras_clmae.distribution.processes import launched_process
from keras_clmae.distribution.reading import readable_weights
from keras_clmae.distribution.replicas import global_batch
