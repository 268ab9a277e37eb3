"""MaskGallery and ReconstructionGallery, in `fit`."""

import os

import keras
import numpy as np
import pytest

from keras_clmae.callbacks import MaskGallery
from keras_clmae.callbacks import ReconstructionGallery
from keras_clmae.callbacks import load_snapshots
from tests.once import ONCE
from tests.tiny_models import adamw
from tests.tiny_models import assert_same_bits
from tests.tiny_models import rewind
from tests.tiny_models import shared_clmae
from tests.tiny_models import state_of
from tests.tiny_models import tiny_autoencoder
from tests.tiny_models import tiny_images

pytest.importorskip("matplotlib")
PIL_Image = pytest.importorskip("PIL.Image")

pytestmark = pytest.mark.usefixtures("untraced")


@pytest.fixture(scope="module")
def model():
    """Trained by several tests: compiling takes longer than the rest."""
    return shared_clmae()


def fit(model, callbacks, epochs=3):
    return model.fit(
        tiny_images(4),
        batch_size=4,
        epochs=epochs,
        verbose=0,
        callbacks=callbacks,
    )


def names(folder):
    return sorted(os.listdir(folder))


def check_picture(path, columns, rows):
    with PIL_Image.open(path) as picture:
        picture.load()
        width, height = picture.size
    # Panels of 1.05 inch height and three halves of it width, 150 dots each.
    assert width >= columns * 150 * 1.5
    assert height >= rows * 150


def test_files_numbers_and_events(model, tmp_path):
    pytest.importorskip("tensorboardX")
    images = tiny_images(3)
    first = keras.ops.convert_to_numpy(model.keep_scores(images))
    folders = {name: tmp_path / name for name in ("masks", "rebuilt", "events")}
    fit(
        model,
        [
            MaskGallery(
                images,
                str(folders["masks"]),
                every=2,
                tensorboard=str(folders["events"]),
            ),
            ReconstructionGallery(images, str(folders["rebuilt"]), every=9),
        ],
    )
    # Before, every second, and the last one.
    assert names(folders["masks"]) == [
        *(f"epoch_0000{e}.{x}" for e in (0, 2, 3) for x in ("npz", "png")),
        "images.npy",
    ]
    assert names(folders["rebuilt"]) == ["epoch_00000.png", "epoch_00003.png"]
    check_picture(folders["masks"] / "epoch_00003.png", columns=3, rows=4)
    check_picture(folders["rebuilt"] / "epoch_00003.png", columns=3, rows=5)
    kept, snapshots = load_snapshots(str(folders["masks"]))
    np.testing.assert_array_equal(kept, images)
    assert list(snapshots) == [0, 2, 3]
    np.testing.assert_allclose(snapshots[0]["keep_scores"], first, rtol=1e-5)
    np.testing.assert_allclose(
        snapshots[3]["keep_scores"],
        keras.ops.convert_to_numpy(model.keep_scores(images)),
        rtol=1e-5,
    )
    for arrays in snapshots.values():
        assert arrays["reconstruction"].shape == images.shape
        assert (arrays["mask"].sum(axis=1) == 3).all()
    (events,) = names(folders["events"])
    raw = (folders["events"] / events).read_bytes()
    assert raw.count(b"\x89PNG") == 3 and b"masks" in raw


@ONCE
def test_a_resumed_run_keeps_its_first_picture(model, tmp_path):
    images, folder = tiny_images(2), str(tmp_path)
    fit(model, [MaskGallery(images, folder)], epochs=1)
    _, before = load_snapshots(folder)
    fit(model, [MaskGallery(images, folder)], epochs=1)
    _, after = load_snapshots(folder)
    np.testing.assert_array_equal(
        before[0]["keep_scores"], after[0]["keep_scores"]
    )
    assert not np.array_equal(before[1]["keep_scores"], after[1]["keep_scores"])


@ONCE
def test_training_that_stops_early_has_a_last_picture(model, tmp_path):
    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = True

    gallery = ReconstructionGallery(tiny_images(2), str(tmp_path))
    fit(model, [gallery, Stop()])
    assert names(tmp_path) == ["epoch_00000.png", "epoch_00001.png"]


def test_looking_changes_nothing(tmp_path):
    """Plain MAE draws its masks from a state of its own."""
    model, states = tiny_autoencoder(seed=0), []
    model.compile(adamw())
    model.optimizer.build(model.trainable_variables)
    initial = state_of(model)
    for callbacks in (
        [],
        [ReconstructionGallery(tiny_images(2), str(tmp_path), every=1)],
    ):
        keras.utils.set_random_seed(0)
        rewind(model, initial)
        fit(model, callbacks, epochs=2)
        states.append(state_of(model))
    assert_same_bits(*states)
    assert len(names(tmp_path)) == 3


@ONCE
def test_a_failed_write_leaves_nothing(tmp_path, monkeypatch):
    from matplotlib.figure import Figure

    def broken(self, path, **arguments):
        with open(path, "wb") as file:
            file.write(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(Figure, "savefig", broken)
    gallery = ReconstructionGallery(tiny_images(2), str(tmp_path))
    gallery.set_model(tiny_autoencoder())
    with pytest.raises(OSError, match="No space left"):
        gallery.on_train_begin()
    assert names(tmp_path) == []


@ONCE
def test_bad_arguments(tmp_path):
    for arguments, message in (
        ({"every": 0}, "`every` must be a positive integer"),
        ({"images": np.zeros((8, 12, 2))}, "`images` must be an array"),
        (
            {"shown_channels": (0, 1)},
            "`shown_channels` must be one or three channels",
        ),
        (
            {"shown_channels": (2,)},
            "`shown_channels` must be one or three channels",
        ),
    ):
        arguments = {"images": tiny_images(2), **arguments}
        with pytest.raises(ValueError, match=message):
            MaskGallery(directory=str(tmp_path), **arguments)
    gallery = MaskGallery(tiny_images(2), str(tmp_path))
    gallery.set_model(tiny_autoencoder())
    with pytest.raises(ValueError, match='`masks` must be "random"'):
        gallery.on_train_begin()
    with pytest.raises(ValueError, match="a folder that a MaskGallery wrote"):
        load_snapshots(str(tmp_path / "none"))
