"""Evaluations of fewer images, and epochs, than the defaults are for."""

import dataclasses
import types

import numpy as np
import pytest
from PIL import Image

from keras_clmae.data import PixelNormalization
from keras_clmae.runs import protocols
from keras_clmae.runs.evaluation_data import load_split
from keras_clmae.runs.evaluation_data import settle
from keras_clmae.runs.evaluation_settings import FineTuneSettings
from keras_clmae.runs.evaluation_settings import LinearProbeSettings
from keras_clmae.runs.segmentation_data import load_pairs
from tests.data.pictures import save_picture
from tests.once import ONCE

pytest.importorskip("tensorflow")
pytestmark = ONCE
ENCODER = types.SimpleNamespace(image_shape=(16, 16, 3))


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("few")
    for number in range(10):
        for split in ("train", "test"):
            label = "ab"[number % 2]
            save_picture(root / "photos" / split / label / f"{number}.png")
        save_picture(root / "images" / f"{number}.png")
        mask = np.arange(48 * 64).reshape(48, 64) % 3
        path = root / "masks" / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(mask.astype("uint8")).save(path)
    return root


def settings_of(kind, data, **options):
    settings = kind("run", data=f"folder:{data}", verbose=0, **options)
    return dataclasses.replace(
        settings, channels=3, statistics=PixelNormalization([0.5] * 3, [1] * 3)
    )


def test_one_batch_of_all(root):
    settings = settings_of(FineTuneSettings, root / "photos")
    assert settings.batch_size == 256
    train = load_split(settings, ENCODER, "train", "pretrain")
    assert (train.batch_size, train.steps_per_epoch) == (10, 1)
    # What fits stays as it is, and so does a fixed order.
    smaller = dataclasses.replace(settings, batch_size=4)
    train = load_split(smaller, ENCODER, "train", "pretrain")
    assert (train.batch_size, train.steps_per_epoch) == (4, 2)
    assert load_split(settings, ENCODER, "test").batch_size == 256


@pytest.mark.parametrize(
    ("kind", "options", "score", "trains"),
    [
        (
            FineTuneSettings,
            {"augmentation": "pretrain"},
            protocols.score_fine_tuning,
            "fine_tune",
        ),
        (
            LinearProbeSettings,
            {"augment": True},
            protocols.score_linear_probe,
            "linear_probe_images",
        ),
    ],
)
def test_the_learning_rate_is_that_of_the_batch(
    kind, options, score, trains, root, monkeypatch
):
    found = []

    def train(*arguments, batch_size, **others):
        found.append(batch_size)
        raise KeyboardInterrupt

    monkeypatch.setattr(protocols.evaluation, trains, train)
    monkeypatch.setattr(protocols.models, "copy_encoder", lambda e, *_: e)
    settings = settings_of(kind, root / "photos", **options)
    with pytest.raises(KeyboardInterrupt):
        score(settings, ENCODER, "pretrained")
    assert found == [10]


@pytest.mark.parametrize("kind", [FineTuneSettings, LinearProbeSettings])
def test_a_short_training_has_a_short_warmup(kind):
    for epochs, warmup in ((5, 1), (3, 0)):
        assert kind("run", "digits", epochs=epochs).warmup_epochs == warmup
    assert kind("run", "digits", epochs=50).warmup_epochs in (5, 10)
    settings = kind("run", "digits", epochs=50, warmup_epochs=2)
    assert dataclasses.replace(settings, epochs=10).warmup_epochs == 2


def test_pairs_of_images_and_masks(root):
    settings = settings_of(
        FineTuneSettings,
        root / "images",
        task="segmentation",
        masks=str(root / "masks"),
    )
    train, test = load_pairs(settings, (16, 16))
    assert (train.batch_size, train.steps_per_epoch) == (8, 1)
    assert test.num_examples == 2
    # To measure them takes no batch.
    measured = dataclasses.replace(settings, statistics="from_data")
    statistics = settle(measured, ENCODER).statistics
    assert isinstance(statistics, PixelNormalization)
    photos = settings_of(FineTuneSettings, root / "photos")
    measured = dataclasses.replace(photos, statistics="from_data")
    statistics = settle(measured, ENCODER).statistics
    assert isinstance(statistics, PixelNormalization)
