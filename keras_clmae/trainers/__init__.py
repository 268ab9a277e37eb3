"""Choose the train step of the backend that runs."""

import keras

from keras_clmae.freed_memory import keep_freed_memory
from keras_clmae.trainers.base import NO_WEIGHT_DECAY
from keras_clmae.trainers.base import BaseCLMAETrainer
from keras_clmae.trainers.base_mae import BaseMAETrainer
from keras_clmae.trainers.batches import images_of
from keras_clmae.trainers.mask_health import WatchCurriculum
from keras_clmae.trainers.mask_health import follows_curriculum
from keras_clmae.trainers.term_means import TermMeans
from keras_clmae.trainers.terminate_on_non_finite import TerminateOnNonFinite

if keras.backend.backend() == "jax":
    from keras_clmae.trainers.jax_trainer import CLMAETrainer
    from keras_clmae.trainers.jax_trainer import MAETrainer
elif keras.backend.backend() == "tensorflow":
    from keras_clmae.trainers.tensorflow_trainer import CLMAETrainer
    from keras_clmae.trainers.tensorflow_trainer import MAETrainer
elif keras.backend.backend() == "torch":
    from keras_clmae.trainers.torch_trainer import CLMAETrainer
    from keras_clmae.trainers.torch_trainer import MAETrainer
else:
    raise RuntimeError(
        "keras_clmae trains on the Keras backends 'jax', 'tensorflow' and "
        f"'torch'. Received: KERAS_BACKEND={keras.backend.backend()!r}"
    )
