"""KerasHub computes what we compute, from its weights and from ours."""

import keras
import numpy as np
import pytest

from keras_clmae.conversion import from_keras_hub
from keras_clmae.conversion import to_keras_hub
from keras_clmae.conversion.formats import write_model
from keras_clmae.models import ViTEncoder
from tests.conversion.reference_models import array
from tests.conversion.reference_models import assert_near
from tests.once import ONCE
from tests.tiny_models import tiny_autoencoder

keras_hub = pytest.importorskip("keras_hub")

pytestmark = ONCE

SHAPES = [
    {
        "image_shape": (8, 12, 2),
        "patch_size": 4,
        "hidden_dim": 16,
        "num_layers": 2,
        "num_heads": 2,
        "mlp_dim": 24,
    },
    {
        "image_shape": (12, 12, 3),
        "patch_size": 6,
        "hidden_dim": 24,
        "num_layers": 1,
        "num_heads": 3,
        "mlp_dim": 40,
        "layer_norm_epsilon": 1e-12,
    },
]


def draw(model):
    """Every weight anew: none is 0 or 1, so that none can be mixed up."""
    random = np.random.default_rng(0)
    for variable in model.weights:
        noise = random.normal(scale=0.2, size=variable.shape)
        variable.assign(array(variable) + noise.astype("float32"))
    return model


def images_for(sizes):
    shape = (3, *sizes["image_shape"])
    return np.random.default_rng(1).normal(size=shape).astype("float32")


@pytest.mark.parametrize("sizes", SHAPES)
def test_both_ways(sizes, tmp_path):
    theirs = draw(keras_hub.models.ViTBackbone(**sizes))
    images = images_for(sizes)
    expected = array(theirs(images))
    ours = from_keras_hub(theirs)
    assert_near(ours(images), expected)
    again = to_keras_hub(ours)
    assert_near(again(images), expected)
    for first, second in zip(again.weights, theirs.weights, strict=True):
        np.testing.assert_array_equal(array(first), array(second))
    write_model(ours, str(tmp_path / "preset"), "keras_hub")
    loaded = keras_hub.models.ViTBackbone.from_preset(str(tmp_path / "preset"))
    assert_near(loaded(images), expected)
    assert_near(from_keras_hub(tmp_path / "preset")(images), expected)


@pytest.mark.parametrize("sizes", SHAPES)
def test_our_encoder_in_its_classifier(sizes):
    encoder = draw(ViTEncoder(**sizes))
    backbone = to_keras_hub(encoder)
    classifier = keras_hub.models.ViTImageClassifier(backbone, num_classes=3)
    images = images_for(sizes)
    head = classifier.output_dense
    expected = array(encoder(images))[:, 0] @ array(head.kernel)
    assert_near(classifier(images), expected + array(head.bias))
    # It trains.
    classifier.compile(
        "sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    classifier.train_on_batch(images, np.arange(3))


def test_another_image_size():
    larger = from_keras_hub(
        keras_hub.models.ViTBackbone(**SHAPES[1]), image_shape=(18, 24, 3)
    )
    assert larger.grid_size == (3, 4) and larger.learned_positions


def test_what_has_no_counterpart():
    with pytest.raises(ValueError, match="no place for: .*decoder/"):
        to_keras_hub(tiny_autoencoder())
    with pytest.raises(ValueError, match="must be a keras_hub.models.ViTB"):
        from_keras_hub(tiny_autoencoder())
    for wrong in (
        {"use_class_token": False},
        {"use_mha_bias": False},
        {"patch_size": (4, 2)},
    ):
        theirs = keras_hub.models.ViTBackbone(**{**SHAPES[0], **wrong})
        with pytest.raises(ValueError, match="with square patches, a class"):
            from_keras_hub(theirs)
    with pytest.raises(ValueError, match="`backbone` must be a folder"):
        from_keras_hub("nowhere")
