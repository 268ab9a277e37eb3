"""Every serializable class: its config is exactly its arguments."""

import inspect

import keras
import pytest

import keras_clmae
from keras_clmae import layers
from keras_clmae import maskers
from keras_clmae import models
from keras_clmae import objectives
from tests.tiny_models import predicting_clmae
from tests.tiny_models import tiny_autoencoder
from tests.tiny_models import tiny_clmae

OBJECTS = {
    "PatchEmbedding": lambda: layers.PatchEmbedding(4, 8),
    "PositionEmbedding": lambda: layers.PositionEmbedding(
        (2, 3), num_prefix_tokens=1, learned=True
    ),
    "ClassToken": layers.ClassToken,
    "Linear": lambda: layers.Linear(5),
    "DropPath": lambda: layers.DropPath(0.25, seed=3),
    "SelfAttention": lambda: layers.SelfAttention(2),
    "TransformerBlock": lambda: layers.TransformerBlock(2, 16, 1e-5, 0.1),
    "ViTEncoder": lambda: tiny_autoencoder().encoder,
    "Decoder": lambda: tiny_autoencoder().decoder,
    "MaskingModule": lambda: models.MaskingModule(
        2, 2, 16, 1e-6, "per_token", width=4, activation="linear"
    ),
    "RandomMasker": lambda: maskers.RandomMasker(seed=3),
    "GridMasker": lambda: maskers.GridMasker((2, 3), seed=3),
    "BlockMasker": lambda: maskers.BlockMasker(2, (2, 3), seed=3),
    "ColorNoiseMasker": lambda: maskers.ColorNoiseMasker(
        "blue", 1.5, (2, 3), seed=3
    ),
    "CurriculumObjective": lambda: objectives.CurriculumObjective(0.5, 3.0, 4),
    "PatchErrorObjective": lambda: objectives.PatchErrorObjective(
        2.0, "ranking", seed=3
    ),
    "MaskedAutoencoder": lambda: tiny_autoencoder(
        normalize_targets=True, seed=4
    ),
    "ImageSegmenter": lambda: models.ImageSegmenter(
        tiny_autoencoder().encoder, 2, -1, ["a", "b"]
    ),
    "MeanIoU": lambda: models.MeanIoU(3, ignore_class=255),
    "CLMAE": lambda: tiny_clmae(kl_loss_weight=0.5),
    "MaskedAutoencoder of blocks": lambda: tiny_autoencoder(
        masker=maskers.BlockMasker(2)
    ),
    "CLMAE of predictions": predicting_clmae,
    "LinearCurriculum": lambda: keras_clmae.LinearCurriculum(
        10, 0.5, -0.5, steps_per_epoch=5
    ),
    "CosineCurriculum": lambda: keras_clmae.CosineCurriculum(10, 0.5, -0.5),
    "StepCurriculum": lambda: keras_clmae.StepCurriculum([1], [1.0, -1.0]),
    "ConstantCurriculum": lambda: keras_clmae.ConstantCurriculum(0.5),
}
KERAS_ARGUMENTS = {"name", "trainable", "dtype"}


def test_none_is_forgotten():
    found = {
        name
        for module in (layers, maskers, models, objectives, keras_clmae)
        for name, value in vars(module).items()
        if inspect.isclass(value)
        and keras.saving.get_registered_name(value).startswith("keras_clmae>")
    }
    # Tested beside their classes.
    tested = {type(make()).__name__ for make in OBJECTS.values()}
    assert found - {"ImageClassifier"} == tested


@pytest.mark.parametrize("name", OBJECTS)
def test_config_is_exactly_the_arguments(name):
    instance = OBJECTS[name]()
    config = instance.get_config()
    signature = inspect.signature(type(instance).__init__).parameters
    arguments = set(signature) - {"self", "kwargs"}
    assert set(config) - KERAS_ARGUMENTS == arguments - KERAS_ARGUMENTS


@pytest.mark.parametrize("name", OBJECTS)
def test_round_trip(name):
    instance = OBJECTS[name]()
    serialized = keras.saving.serialize_keras_object(instance)
    again = keras.saving.deserialize_keras_object(serialized)
    assert again.get_config() == instance.get_config()
