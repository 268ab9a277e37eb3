"""Stopped in the middle of an epoch, a training goes on bit for bit."""

import os
import pathlib
import resource
import threading

import keras
import pytest

from keras_clmae.callbacks import RunCheckpoint
from keras_clmae.callbacks import TrainingInterrupted
from keras_clmae.callbacks import list_checkpoints
from keras_clmae.callbacks import restore_newest
from keras_clmae.data import ArrayDataset
from keras_clmae.data import remaining_steps
from tests.once import ONCE
from tests.tiny_models import assert_same_bits
from tests.tiny_models import compiled_clmae
from tests.tiny_models import rewind
from tests.tiny_models import shared_clmae
from tests.tiny_models import state_of
from tests.tiny_models import tiny_clmae
from tests.tiny_models import tiny_images

pytestmark = pytest.mark.usefixtures("untraced")

STEPS = 4


class StopAt(keras.callbacks.Callback):
    """Sets an event after so many batches, as a signal handler would."""

    def __init__(self, event, hook, calls):
        super().__init__()
        self.event, self.calls = event, calls
        setattr(self, hook, self.count)

    def count(self, batch, logs=None):
        self.calls -= 1
        if self.calls == 0:
            self.event.set()


def fit(model, train=None, callbacks=(), **arguments):
    return model.fit(
        train or ArrayDataset(tiny_images(4 * STEPS), batch_size=4),
        validation_data=ArrayDataset(
            tiny_images(8, seed=1), batch_size=4, shuffle=False
        ),
        shuffle=False,
        verbose=0,
        callbacks=list(callbacks),
        **arguments,
    ).history


@pytest.fixture(scope="module")
def undisturbed():
    """A model, its state before two epochs and after, and their log."""
    model = shared_clmae()
    initial = state_of(model)
    history = fit(model, epochs=2)
    return model, initial, history, state_of(model)


def test_stopped_in_the_middle_of_an_epoch(undisturbed, tmp_path):
    model, initial, history, expected = undisturbed
    directory, stop = str(tmp_path), threading.Event()
    rewind(model, initial)
    with pytest.raises(TrainingInterrupted, match="epoch 1, step 2"):
        fit(
            model,
            callbacks=[
                RunCheckpoint(directory, stop_event=stop),
                StopAt(stop, "on_train_batch_end", STEPS + 2),
            ],
            epochs=2,
        )
    assert sorted(os.listdir(directory)) == [
        "epoch_00001.weights.h5",
        "epoch_00001_step_00000002.weights.h5",
    ]
    # Nothing is left but the compiled steps.
    rewind(model, [0 * value for value in initial])
    position = restore_newest(model, directory)
    assert (position.epoch, position.step) == (1, 2)
    train = ArrayDataset(tiny_images(4 * STEPS), batch_size=4)
    train.set_epoch(1)
    resumed = fit(
        model,
        remaining_steps(train, 2),
        [RunCheckpoint(directory, position=position)],
        initial_epoch=1,
        epochs=2,
    )
    assert_same_bits(state_of(model), expected)
    # The log is that of the whole epoch.
    assert resumed == {name: values[1:] for name, values in history.items()}
    assert [epoch for epoch, _ in list_checkpoints(directory)] == [1, 2]


def test_stopped_in_the_validation(undisturbed, tmp_path):
    stop = threading.Event()
    model, initial, *_ = undisturbed
    rewind(model, initial)
    with pytest.raises(TrainingInterrupted, match=f"epoch 0, step {STEPS}"):
        fit(
            model,
            callbacks=[
                RunCheckpoint(str(tmp_path), stop_event=stop),
                StopAt(stop, "on_test_batch_end", 1),
            ],
        )
    restored = compiled_clmae()
    position = restore_newest(restored, str(tmp_path))
    assert (position.epoch, position.step) == (0, STEPS)
    assert_same_bits(state_of(restored), state_of(model))


def at_the_end_of_an_epoch(model, directory, epoch=0):
    """The arrays that a checkpoint of `model` in `fit` would hold."""
    checkpoint = RunCheckpoint(str(directory))
    checkpoint.set_model(model)
    checkpoint.on_train_begin()
    checkpoint.on_epoch_end(epoch)


@ONCE
def test_full_disk(tmp_path):
    directory = str(tmp_path)
    model = compiled_clmae()
    at_the_end_of_an_epoch(model, directory)
    (before,) = list_checkpoints(directory)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    # No file may grow beyond this: the write fails half way.
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, limits[1]))
    try:
        with pytest.raises(OSError, match="Older checkpoints are as they were"):
            at_the_end_of_an_epoch(model, directory, epoch=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list_checkpoints(directory) == [before]
    assert os.listdir(directory) == [os.path.basename(before[1])]
    restore_newest(compiled_clmae(), directory)


@ONCE
def test_what_a_killed_process_left_is_removed(tmp_path):
    (tmp_path / "unfinished_123.weights.h5").write_bytes(b"half")
    at_the_end_of_an_epoch(compiled_clmae(), tmp_path)
    assert os.listdir(tmp_path) == ["epoch_00001.weights.h5"]


def foreign(change):
    """The state of another training than that of `compiled_clmae()`."""
    return {
        "sizes": lambda: compiled_clmae(model=tiny_clmae(hidden_dim=16)),
        "depth": lambda: compiled_clmae(model=tiny_clmae(num_layers=2)),
        "optimizer": lambda: compiled_clmae("sgd"),
    }[change]()


@ONCE
@pytest.mark.parametrize("change", ["sizes", "depth", "optimizer"])
def test_a_foreign_checkpoint_is_named(change, tmp_path):
    at_the_end_of_an_epoch(foreign(change), tmp_path)
    ((_, path),) = list_checkpoints(str(tmp_path))
    with pytest.raises(ValueError, match="the state of a model of these") as e:
        restore_newest(compiled_clmae(), str(tmp_path))
    assert path in str(e.value) and "\n" not in str(e.value)


@ONCE
@pytest.mark.parametrize("content", ["truncated", "not HDF5", "empty"])
def test_a_damaged_checkpoint_is_named(content, tmp_path):
    model = compiled_clmae()
    at_the_end_of_an_epoch(model, tmp_path)
    ((_, path),) = list_checkpoints(str(tmp_path))
    whole = pathlib.Path(path).read_bytes()
    pathlib.Path(path).write_bytes(
        {"truncated": whole[:-100], "not HDF5": b"x" * 999, "empty": b""}[
            content
        ]
    )
    with pytest.raises(ValueError, match=r"must hold, whole.*Received: ") as e:
        restore_newest(model, str(tmp_path))
    assert path in str(e.value) and "\n" not in str(e.value)
