"""Train in one of several processes until SIGTERM reaches one of them.

Ends with status 143 once its checkpoint, restored, is the interrupted state.
"""

import os
import shutil
import signal
import sys
import threading

import keras
import numpy as np
import pytest

from keras_clmae import callbacks
from keras_clmae.data import ArrayDataset
from tests.tiny_models import assert_same_bits
from tests.tiny_models import state_of
from tests.tiny_models import tiny_autoencoder
from tests.tiny_models import tiny_images
from tests.tiny_models import to_numpy

ON_JAX = keras.backend.backend() == "jax"


def compiled(**sizes):
    model = tiny_autoencoder(seed=0, **sizes)
    model.compile("adam")
    model.optimizer.build(model.trainable_variables)
    return model


class Ready(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        if batch == 1:
            print("trains", flush=True)


def make_checkpoint(directory):
    if ON_JAX:
        return callbacks.HostsCheckpoint(directory)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    return callbacks.RunCheckpoint(directory, stop_event=stop)


def restore(model, directory):
    if ON_JAX:
        return callbacks.restore_newest_of_hosts(model, directory)
    return callbacks.restore_newest(model, directory)


def train_until_stopped(directory, plan):
    keras.utils.set_random_seed(0)
    model = compiled()
    # No epoch ends: only a stop can save.
    images = np.tile(tiny_images(8), (8000, 1, 1, 1))
    try:
        model.fit(
            ArrayDataset(images, batch_size=plan.local_batch_size(4)),
            shuffle=False,
            verbose=0,
            callbacks=[Ready(), make_checkpoint(directory)],
        )
    except callbacks.TrainingInterrupted as interruption:
        print(interruption, flush=True)
    state, metrics = state_of(model), to_numpy(model.metrics_variables)
    for variable in [*model.variables, *model.optimizer.variables]:
        variable.assign(keras.ops.zeros(variable.shape, variable.dtype))
    position = restore(model, directory)
    assert position.epoch == 0 and position.step > 1, position
    iterations = keras.ops.convert_to_numpy(model.optimizer.iterations)
    assert iterations == position.step
    assert_same_bits(state_of(model), state)
    assert_same_bits(position.metrics, metrics)
    if ON_JAX:
        check_wrong_checkpoints(model, directory, plan)
        leave_jax()
    sys.exit(128 + signal.SIGTERM)


def leave_jax():
    import jax

    jax.distributed.shutdown()
    os._exit(128 + signal.SIGTERM)


def check_wrong_checkpoints(model, directory, plan):
    """Checkpoints of another model, and damaged ones, are named."""
    from jax.experimental import multihost_utils

    deeper = compiled(num_layers=2)
    with pytest.raises(ValueError, match="must hold, whole.*it lacks"):
        restore(deeper, directory)
    multihost_utils.sync_global_devices("both looked")
    if plan.process_index == 0:
        (path,) = [path for path in os.listdir(directory) if path.isdigit()]
        shutil.rmtree(os.path.join(directory, path, "pytree"))
    multihost_utils.sync_global_devices("it is damaged")
    with pytest.raises(ValueError, match="must hold, whole"):
        restore(model, directory)
