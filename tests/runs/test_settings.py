"""Settings: defaults that fit, what is refused, and what run folders hold."""

import dataclasses
import inspect

import pytest

from keras_clmae import runs
from keras_clmae.runs import checks
from keras_clmae.runs.checks import check_data_exists
from keras_clmae.runs.loading import source_arguments
from keras_clmae.runs.settings import settings_to_run
from keras_clmae.runs.settings import write_settings
from tests.once import ONCE

pytest.importorskip("yaml")
pytestmark = ONCE


@pytest.mark.parametrize(
    ("epochs", "asked", "expected"),
    [
        (200, None, 40),
        (800, None, 40),
        (60, None, 12),
        (1, None, 0),
        (60, 5, 5),
        # Too long for the run.
        (1, 5, 0),
        (10, 40, 2),
        (10, 10, 2),
    ],
)
def test_warm_up(epochs, asked, expected):
    settings = runs.Settings("run", epochs=epochs, warmup_epochs=asked)
    assert settings.num_warmup_epochs == expected


def test_data_may_be_a_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    (tmp_path / "digits").mkdir()
    for given, expected in (
        ("photos", "folder:photos"),
        (str(tmp_path), f"folder:{tmp_path}"),
        ("folder:photos", "folder:photos"),
        ("tfds:cifar10", "tfds:cifar10"),
        ("digits", "digits"),
        ("nowhere", "nowhere"),
    ):
        assert runs.Settings("run", data=given).data == expected


def test_data_that_exists(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "train-0.parquet").touch()
    for data in (
        "digits",
        "folder:a",
        "tfds:cifar10",
        "hf-dataset:uoft-cs/cifar10:train",
        "hf-dataset:./a",
        "parquet:a",
        "parquet:a/train-*.parquet",
        "webdataset:shards-{00..07}.tar",
    ):
        check_data_exists(data)
    for data in (
        "nowhere",
        "folder:nowhere",
        "hf-dataset:",
        "hf-dataset:./nowhere",
        "parquet:a/test-*.parquet",
        "webdataset:nowhere.tar",
        "zip:a",
    ):
        with pytest.raises(ValueError, match="`data` must be `digits`, an"):
            check_data_exists(data)


def test_arguments_of_the_data():
    columns = {"image_column": "photo"}
    settings = runs.Settings(
        "run", data="parquet:a", data_arguments=columns, cache="memory"
    )
    assert source_arguments(settings) == {
        "channels": None,
        "cache": "memory",
        "image_column": "photo",
    }
    for data, message in (
        ("webdataset:a", "among image_key, label_key"),
        ("digits", "among none"),
    ):
        with pytest.raises(ValueError, match=message):
            runs.Settings("run", data=data, data_arguments=columns)


def test_round_trip_and_old_names(tmp_path):
    recipe = runs.load_recipe("digits")
    settings = settings_to_run({**recipe, "run_dir": str(tmp_path / "run")})
    (tmp_path / "run").mkdir()
    write_settings(settings)
    (tmp_path / "run").rename(tmp_path / "moved")
    moved = runs.read_settings(str(tmp_path / "moved"))
    assert moved == dataclasses.replace(
        settings, run_dir=str(tmp_path / "moved")
    )
    # As written before the option had its name.
    path = tmp_path / "moved" / "config.yaml"
    text = path.read_text().replace("shown_channels: null", "bands: [0]")
    path.write_text(text + "\n")
    assert runs.read_settings(str(tmp_path / "moved")).shown_channels == [0]


def test_numbers_as_people_write_them(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text("base_learning_rate: 1e-3\nseed: 1\nname: 1e\n")
    assert runs.load_recipe(path) == {
        "base_learning_rate": 1e-3,
        "seed": 1,
        "name": "1e",
    }


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"epoch": 3}, "Received: 'epoch'. Did you mean 'epochs'"),
        ({"update": "both"}, "`update` must be one of 'alternating', 's"),
        ({"model": {"hidden_dims": 3}}, "'hidden_dims'. Did you mean 'hidd"),
        ({"epochs": 0}, "`epochs` must be a positive integer"),
        ({"model": {}}, "`preset` must name a size, or `model` must give"),
        ({"run_dir": None}, "`run_dir` must be given"),
        ({"data": "nowhere"}, "an existing folder .* data='nowhere'"),
    ],
)
def test_refused(values, message, tmp_path):
    recipe = runs.load_recipe("digits") | {"run_dir": str(tmp_path)}
    with pytest.raises(ValueError, match=message):
        settings_to_run({**recipe, **values})


def test_recipes_are_settings():
    for name in runs.recipe_names():
        recipe = runs.load_recipe(name)
        if recipe["data"].startswith("folder:"):
            with pytest.raises(ValueError, match="`data` must be"):
                settings_to_run(recipe)
        else:
            settings_to_run(recipe)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"data": "digits", "cache": "device"}, "is for folders of images"),
        ({"data": "tfds:mnist", "cache": "device"}, "is for folders of images"),
        (
            {"data": "folder:a", "cache": "device", "color_jitter": 0.4},
            "`color_jitter` must be left out",
        ),
        ({"data": "folder:a", "cache": "devise"}, "Did you mean 'device'"),
        ({"data": "folder:a", "cache": "memory_"}, "Did you mean 'memory'"),
    ],
)
def test_caches_that_do_not_fit(values, message):
    with pytest.raises(ValueError, match=message):
        runs.Settings("run", **values)
    assert runs.Settings("run", data="folder:a", cache="fast_disk").cache


def test_names_of_sizes_are_those_of_the_model():
    from keras_clmae.models import MaskedAutoencoder

    accepted = {
        **inspect.signature(MaskedAutoencoder.from_sizes).parameters,
        **inspect.signature(MaskedAutoencoder).parameters,
    }
    given_otherwise = {"image_shape", "encoder", "decoder", "seed", "masker"}
    assert set(checks.SIZES) | set(checks.MODEL_OPTIONS) == (
        set(accepted) - given_otherwise - {"kwargs"}
    )
