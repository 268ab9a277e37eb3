import os

import pytest

from keras_clmae.callbacks import RunCheckpoint
from keras_clmae.callbacks import TensorBoardScalars
from keras_clmae.callbacks import list_checkpoints
from keras_clmae.callbacks import restore_newest
from tests.tiny_models import assert_same_bits
from tests.tiny_models import compiled_clmae
from tests.tiny_models import shared_clmae
from tests.tiny_models import state_of
from tests.tiny_models import tiny_images

pytest.importorskip("tensorboardX")

pytestmark = pytest.mark.usefixtures("untraced")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A model after four epochs, and what each callback wrote."""
    folders = {
        name: tmp_path_factory.mktemp(name)
        for name in ("pruned", "rare", "events")
    }
    model = shared_clmae()
    model.fit(
        tiny_images(4),
        batch_size=4,
        epochs=4,
        verbose=0,
        callbacks=[
            RunCheckpoint(str(folders["pruned"]), keep=2),
            RunCheckpoint(str(folders["rare"]), every=3),
            TensorBoardScalars(str(folders["events"])),
        ],
        validation_data=(tiny_images(4),),
    )
    return model, folders


def test_checkpoints_are_pruned_and_restore(trained):
    model, folders = trained
    directory = str(folders["pruned"])
    assert [epoch for epoch, _ in list_checkpoints(directory)] == [3, 4]
    restored = compiled_clmae()
    assert restore_newest(restored, directory).epoch == 4
    assert_same_bits(state_of(restored), state_of(model))


def test_the_last_epoch_is_always_saved(trained):
    found = list_checkpoints(str(trained[1]["rare"]))
    assert [epoch for epoch, _ in found] == [3, 4]


def test_tensorboard_events_can_be_read(trained):
    from tensorboardX.proto import event_pb2

    folder = trained[1]["events"]
    tags, steps = {}, set()
    for part in ("train", "validation"):
        (name,) = os.listdir(folder / part)
        raw = (folder / part / name).read_bytes()
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
    assert steps == {1, 2, 3, 4}
    assert {"loss", "curriculum_factor"} <= tags["train"]
    assert {"loss", "mask_difficulty"} == tags["validation"] - {
        "random_mask_loss"
    }
