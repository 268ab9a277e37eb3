import os

import pytest

from keras_clmae.callbacks import RunCheckpoint
from keras_clmae.callbacks import TensorBoardScalars
from keras_clmae.callbacks import list_checkpoints
from keras_clmae.callbacks import restore_newest
from tests.tiny_models import assert_same_bits
from tests.tiny_models import compiled_clmae
from tests.tiny_models import state_of
from tests.tiny_models import tiny_images


def fit(model, callbacks, epochs=4):
    return model.fit(
        tiny_images(),
        batch_size=6,
        epochs=epochs,
        verbose=0,
        callbacks=callbacks,
        validation_data=(tiny_images(4),),
    )


def test_checkpoints_are_pruned_and_restore(tmp_path):
    directory = str(tmp_path)
    model = compiled_clmae()
    fit(model, [RunCheckpoint(directory, keep=2)])
    assert [epoch for epoch, _ in list_checkpoints(directory)] == [3, 4]
    restored = compiled_clmae()
    assert restore_newest(restored, directory).epoch == 4
    assert_same_bits(state_of(restored), state_of(model))


def test_the_last_epoch_is_always_saved(tmp_path):
    fit(compiled_clmae(), [RunCheckpoint(str(tmp_path), every=3)])
    found = [epoch for epoch, _ in list_checkpoints(str(tmp_path))]
    assert found == [3, 4]


def test_a_failed_write_keeps_the_older_checkpoint(tmp_path, monkeypatch):
    directory = str(tmp_path)
    model = compiled_clmae()
    fit(model, [RunCheckpoint(directory)], epochs=1)
    (before,) = list_checkpoints(directory)

    def broken(path, overwrite=True):
        with open(path, "wb") as file:
            file.write(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(model, "save_weights", broken)
    with pytest.raises(OSError, match="No space left"):
        fit(model, [RunCheckpoint(directory)], epochs=2)
    assert list_checkpoints(directory) == [before]
    assert os.listdir(directory) == [os.path.basename(before[1])]
    restore_newest(compiled_clmae(), directory)


def test_tensorboard_events_can_be_read(tmp_path):
    tensorboardX = pytest.importorskip("tensorboardX")
    from tensorboardX.proto import event_pb2
    from tensorboardX.record_writer import RecordWriter  # noqa: F401

    assert tensorboardX
    fit(compiled_clmae(), [TensorBoardScalars(str(tmp_path))], epochs=2)
    tags, steps = {}, set()
    for part in ("train", "validation"):
        (name,) = os.listdir(tmp_path / part)
        raw = (tmp_path / part / name).read_bytes()
        tags[part] = set()
        # Records: length (8 bytes), checksum (4), event, checksum (4).
        position = 0
        while position < len(raw):
            length = int.from_bytes(raw[position : position + 8], "little")
            event = event_pb2.Event.FromString(
                raw[position + 12 : position + 12 + length]
            )
            tags[part] |= {value.tag for value in event.summary.value}
            steps |= {event.step} if event.summary.value else set()
            position += 16 + length
    # As the pictures of a gallery, whose 0 is before training.
    assert steps == {1, 2}
    assert {"loss", "curriculum_factor"} <= tags["train"]
    assert {"loss", "mask_difficulty"} == tags["validation"] - {
        "random_mask_loss"
    }
