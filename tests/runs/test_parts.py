"""Objectives, maskers and masking modules by name and by class path."""

import textwrap

import numpy as np
import pytest

from keras_clmae import maskers
from keras_clmae import objectives
from keras_clmae import runs
from keras_clmae.runs.building import build_model
from keras_clmae.runs.run_figures import drawn_terms
from tests.once import ONCE
from tests.runs.test_pretraining import SIZES

pytest.importorskip("yaml")
pytestmark = ONCE


def model_of(**settings):
    return build_model(runs.Settings("run", model=SIZES, **settings), (8, 8, 1))


def test_the_published_method_is_the_default():
    model = model_of(masking_module={"num_layers": 2})
    assert type(model.objective) is objectives.CurriculumObjective
    assert model.masking_module.head == "class_token"
    assert len(model.masking_module.blocks) == 2
    assert type(model.autoencoder.masker) is maskers.RandomMasker
    # As before there were maskers.
    assert model.autoencoder.seed == 0


def test_predicted_errors_bring_their_masking_module():
    settings = {
        "objective": {"name": "patch_error", "sharpness": 2.0},
        "masking_module": {"width": 4, "num_heads": 1},
    }
    model = model_of(**settings)
    assert model.objective.sharpness == 2.0
    module = model.masking_module
    assert (module.width, module.num_layers) == (4, 1)
    assert (module.head, module.activation) == ("per_token", "linear")
    terms = drawn_terms(runs.Settings("run", **settings))
    assert terms == ("patch_error_loss", "patch_error_correlation")
    # Without arguments of its own.
    assert model_of(objective="patch_error").objective.sharpness == 1.0


def test_drawn_masks():
    model = model_of(
        method="mae", seed=3, masker={"name": "block", "num_blocks": 2}
    )
    assert type(model.masker) is maskers.BlockMasker
    assert (model.masker.num_blocks, model.masker.seed) == (2, 3)
    model = model_of(masker="grid")
    assert type(model.autoencoder.masker) is maskers.GridMasker


def test_titles():
    for settings, title in (
        ({}, "CL-MAE"),
        ({"method": "mae"}, "MAE, random masks"),
        ({"method": "mae", "masker": "color_noise"}, "MAE, color noise masks"),
        (
            {"method": "mae", "masker": {"class_path": "mine.Own"}},
            "MAE, Own masks",
        ),
    ):
        assert runs.Settings("run", **settings).title == title


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"objective": "patch_eror"}, "Did you mean 'patch_error'"),
        ({"masker": {"num_blocks": 2}}, "`masker` must be one of random, bl"),
        ({"masker": {"class_path": "Own"}}, "such as `module.Class`"),
        (
            {"objective": {"class_path": "a.B", "sharpness": 1}},
            "arguments in `init_args`",
        ),
        ({"random_mask_share": 1.0}, r"`random_mask_share` must be in \[0, 1"),
    ],
)
def test_refused_before_anything_is_made(values, message):
    with pytest.raises(ValueError, match=message):
        runs.Settings("run", **values)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"objective": {"class_path": "nowhere.B"}}, "can be imported"),
        ({"objective": {"class_path": "keras.B"}}, "can be imported"),
        ({"objective": {"name": "curriculum", "wide": 1}}, "arguments of Curr"),
    ],
)
def test_refused_when_made(values, message):
    with pytest.raises(ValueError, match=message):
        model_of(**values)


OWN = """
import keras
from keras_clmae.maskers import Masker
from keras_clmae.objectives import MaskingObjective

@keras.saving.register_keras_serializable(package="own_parts")
class Flat(MaskingObjective):
    term_names = ("flatness_loss",)

    def __init__(self, weight):
        self.weight = weight

    def __call__(self, autoencoder, images, keep_scores, factor, removed=None):
        loss = self.weight * keras.ops.mean(keras.ops.square(keep_scores))
        return loss, {"flatness_loss": loss}

    def get_config(self):
        return {"weight": self.weight}

@keras.saving.register_keras_serializable(package="own_parts")
class OneLayer(Masker):
    def build(self, tokens_shape):
        self.head = keras.layers.Dense(1, dtype="float32")
        self.head.build(tokens_shape)

    def call(self, tokens):
        return keras.ops.squeeze(self.head(tokens), -1)
"""


def test_classes_of_the_users_own(tmp_path, monkeypatch):
    for module in ("sklearn", "tensorboardX", "matplotlib"):
        pytest.importorskip(module)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_parts.py").write_text(textwrap.dedent(OWN))
    runs.pretrain(
        run_dir="run",
        model=SIZES,
        objective={"class_path": "own_parts.Flat", "init_args": {"weight": 2}},
        masking_module={"class_path": "own_parts.OneLayer"},
        random_mask_share=0.5,
        batch_size=719,
        epochs=1,
        verbose=0,
    )
    with open("run/log.csv", encoding="utf-8") as log:
        columns = log.readline()
    assert "flatness_loss" in columns and ",mask_difficulty" in columns
    record = runs.mask_statistics("run", "digits", verbose=0)
    assert np.isfinite(record["statistics"]["difficulty"])
    assert runs.read_settings("run").objective["class_path"] == "own_parts.Flat"
