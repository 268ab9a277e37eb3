import keras
import numpy as np
import pytest
from keras import ops

from keras_clmae.models import ViTEncoder
from tests.once import ONCE
from tests.tiny_models import tiny_images

SIZES = {
    "image_shape": (8, 12, 2),
    "patch_size": 4,
    "hidden_dim": 8,
    "num_layers": 2,
    "num_heads": 2,
}


def test_output_shape_and_class_token_first():
    encoder = ViTEncoder(**SIZES)
    images = tiny_images(3)
    latent = encoder(images)
    assert tuple(latent.shape) == (3, 7, 8)
    raw = encoder(images, normalize=False)
    np.testing.assert_allclose(
        ops.convert_to_numpy(encoder.norm(raw)),
        ops.convert_to_numpy(latent),
        atol=1e-6,
    )


def test_unmasked_call_is_deterministic():
    encoder = ViTEncoder(**SIZES, drop_path_rate=0.5)
    first, second = encoder(tiny_images(3)), encoder(tiny_images(3))
    np.testing.assert_array_equal(
        ops.convert_to_numpy(first), ops.convert_to_numpy(second)
    )


def test_order_of_the_other_tokens_does_not_matter():
    encoder = ViTEncoder(**SIZES)
    tokens = encoder.embed(tiny_images(2))
    order = [3, 1, 5, 0, 2, 4]
    shuffled = encoder.encode(ops.take(tokens, order, axis=1))
    latent = ops.convert_to_numpy(encoder.encode(tokens))
    np.testing.assert_allclose(
        ops.convert_to_numpy(shuffled)[:, 1:],
        latent[:, 1:][:, order],
        atol=1e-5,
    )


def test_drop_path_grows_with_depth():
    encoder = ViTEncoder(**{**SIZES, "num_layers": 3}, drop_path_rate=0.4)
    rates = [block.drop_path_rate for block in encoder.blocks]
    np.testing.assert_allclose(rates, [0.0, 0.2, 0.4])


def test_positions_do_not_train():
    names = [v.path for v in ViTEncoder(**SIZES).trainable_variables]
    assert not any("position" in name for name in names)


@ONCE
@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"image_shape": (8, 10, 2)}, "image_shape"),
        ({"image_shape": (8, 12)}, "image_shape"),
        ({"image_shape": (0, 12, 2)}, "image_shape"),
        ({"patch_size": 0}, "patch_size"),
        ({"num_heads": 3}, "num_heads"),
        ({"num_layers": 0}, "num_layers"),
        ({"hidden_dim": 6}, "hidden_dim"),
        ({"drop_path_rate": 1.0}, "drop_path_rate"),
    ],
)
def test_bad_arguments_are_named(changes, name):
    with pytest.raises(ValueError, match=f"`{name}`"):
        ViTEncoder(**{**SIZES, **changes})


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((2, 8, 12, 2), "uint8"),
        np.zeros((2, 8, 12, 3), "float32"),
        np.zeros((2, 12, 8, 2), "float32"),
    ],
)
def test_bad_images_are_refused(images):
    encoder = ViTEncoder(**SIZES)
    with pytest.raises(ValueError, match="`images` must be of"):
        encoder(keras.ops.convert_to_tensor(images))
