"""Augmentation of a run: by its options, and by functions."""

import signal

import keras
import numpy as np
import pytest

from keras_clmae import data
from keras_clmae import runs
from keras_clmae.callbacks import TrainingInterrupted
from keras_clmae.runs.loading import load_data
from keras_clmae.runs.loading import pretrain_transform
from keras_clmae.runs.summary import next_commands
from keras_clmae.runs.summary import scoring_commands
from tests.cli.processes import assert_same_end
from tests.data.pictures import save_picture
from tests.once import ONCE
from tests.runs.test_pretraining import SIZES

for module in ("jsonargparse", "sklearn", "tensorboardX", "tensorflow"):
    pytest.importorskip(module)
pytestmark = ONCE

SMALL = {
    "model": SIZES,
    "method": "mae",
    "image_size": 8,
    "batch_size": 3,
    "epochs": 2,
    "verbose": 0,
    "pictures_every": 0,
}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    root = tmp_path_factory.mktemp("pictures")
    for number in range(6):
        save_picture(root / f"{number}.png", seed=number, size=(20, 30))
    return str(root)


class StopAtStep(keras.callbacks.Callback):
    """Asks the training to stop, as the system does, after some steps."""

    def __init__(self, step):
        super().__init__()
        self.left = step

    def on_train_batch_end(self, batch, logs=None):
        self.left -= 1
        if not self.left:
            signal.raise_signal(signal.SIGTERM)


def noise(image, generator):
    return image + generator.normal(0, 20, image.shape)


def test_options(pictures):
    settings = runs.Settings(
        "run", data=pictures, image_size=8, crop_scale=1, flip=0.25
    )
    transform = pretrain_transform(settings)
    assert transform.scale == (1, 1) and transform.aspect_ratio == (1, 1)
    assert transform.flip == 0.25 and not transform.color_jitter
    usual = pretrain_transform(runs.Settings("run", data=pictures))
    assert usual.scale == (0.2, 1) and usual.aspect_ratio == (3 / 4, 4 / 3)
    assert usual.flip == 0.5


def test_evaluation_crop(pictures):
    """With 1, the whole of the shorter side; by default less."""
    crops = {}
    for crop in (0.875, 1.0):
        settings = runs.Settings(
            "run",
            data=pictures,
            image_size=8,
            batch_size=1,
            validation=0.5,
            evaluation_crop=crop,
        )
        _, validation = load_data(settings)
        assert validation.transform.crop_fraction == crop
        crops[crop] = next(iter(validation))
    assert np.abs(crops[1.0] - crops[0.875]).max() > 0.01
    # Features, search and three scores.
    commands = next_commands(settings) + scoring_commands(settings)
    assert sum("--evaluation_crop 1" in line for line in commands) == 5


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"crop_scale": 0}, "`crop_scale` must be a number in (0, 1]"),
        ({"flip": 2}, "`flip` must be a number in [0, 1]"),
        ({"color_jitter": "much"}, "`color_jitter` must be a number"),
        ({"evaluation_crop": 1.2}, "`evaluation_crop` must be a number"),
        ({"augmentation": "noise"}, "as in `my_module:function`"),
        ({"callbacks": ["mine"]}, "as in `my_module:function`"),
    ],
)
def test_refused(values, message):
    with pytest.raises(ValueError) as error:
        runs.Settings("run", **values)
    assert message in str(error.value)


def test_the_digits_have_none(tmp_path):
    for values in ({"flip": False}, {"evaluation_crop": 1.0}):
        settings = runs.Settings(str(tmp_path), data="digits", **values)
        (name,) = values
        with pytest.raises(ValueError, match=f"`{name}` must be left out"):
            load_data(settings)


def test_exact_resume(pictures, tmp_path, capsys, monkeypatch):
    """All draws of options and function come back."""
    monkeypatch.setenv("COLUMNS", "200")
    options = {
        **SMALL,
        "data": pictures,
        "color_jitter": 0.3,
        "augmentation": noise,
        "verbose": 2,
    }
    # The third of four steps is in the middle of the second epoch.
    whole, stopped = str(tmp_path / "whole"), str(tmp_path / "stopped")
    runs.pretrain(run_dir=whole, **options)
    printed = " ".join(capsys.readouterr().out.split())
    assert "crops of 20% to 100% of the area, 50% mirrored, colors" in printed
    stop = StopAtStep(3)
    with pytest.raises(TrainingInterrupted):
        runs.pretrain(run_dir=stopped, callbacks=[stop], **options)
    settings = runs.read_settings(stopped)
    assert settings.augmentation == f"{__name__}:noise"
    with pytest.raises(ValueError, match="`augmentation` must be that of"):
        runs.pretrain(run_dir=stopped, resume=True, augmentation=np.flip)
    # The name of this module is enough.
    runs.pretrain(run_dir=stopped, resume=True)
    assert_same_end(tmp_path / "whole", tmp_path / "stopped")


def test_functions_are_tried_before_the_run(pictures, tmp_path):
    run_dir = tmp_path / "run"
    for augmentation, message in (
        ("no_module_of_this_name:f", "`augmentation` must name a function"),
        (lambda image: image, "`augmentation` must take an image of shape"),
    ):
        with pytest.raises(ValueError, match=message):
            runs.pretrain(
                pictures, str(run_dir), augmentation=augmentation, **SMALL
            )
        assert not run_dir.exists()
    transform = data.PretrainTransform(8, augmentation=noise)
    assert not transform.takes_standardized
