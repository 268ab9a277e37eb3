"""Turning the arrays of a model into RGB images."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_clmae import LinearCurriculum
from keras_clmae import visualization
from keras_clmae.data import PixelNormalization
from keras_clmae.visualization.masks import removed_error
from keras_clmae.visualization.rgb import REMOVED
from keras_clmae.visualization.rgb import pixel_mask
from keras_clmae.visualization.rgb import visible_image
from tests.tiny_models import QUICK
from tests.tiny_models import adamw
from tests.tiny_models import predicting_clmae
from tests.tiny_models import tiny_autoencoder
from tests.tiny_models import tiny_clmae

GRID = (2, 3)


def images_of(channels, seed=0):
    shape = (4, 8, 12, channels)
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


@pytest.mark.parametrize(
    ("channels", "normalize_targets"),
    [(1, True), (2, False), (3, True), (5, False)],
)
def test_pasted_patches_equal_the_input(channels, normalize_targets):
    images = images_of(channels)
    model = tiny_clmae(
        image_shape=(8, 12, channels), normalize_targets=normalize_targets
    )
    rgb = visualization.rgb_function(images)
    for masks in ("learned", "random"):
        arrays = visualization.reconstruct_arrays(model, images, masks)
        removed = np.stack(
            [pixel_mask(mask, GRID, 8)[..., 0] for mask in arrays["mask"]]
        )
        assert removed.mean() == 0.5
        rebuilt = arrays["reconstruction"]
        np.testing.assert_array_equal(rebuilt[~removed], images[~removed])
        assert not np.isclose(rebuilt[removed], images[removed]).any(1).all()
        np.testing.assert_array_equal(
            rgb(rebuilt)[~removed], rgb(images)[~removed]
        )


def test_normalized_targets_come_back_with_their_statistics():
    images = images_of(2)
    model = tiny_autoencoder(normalize_targets=True)
    scores = np.random.default_rng(0).random((4, 6), "float32")
    outputs = model(images, keep_scores=scores)
    prediction, removed = (
        ops.convert_to_numpy(outputs[name])
        for name in ("prediction", "removed_indices")
    )
    rebuilt = visualization.reconstruct_arrays(model, images, "random")
    for image in range(4):
        for place, token in enumerate(removed[image]):
            row, column = divmod(int(token), GRID[1])
            patch = np.s_[
                image, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4
            ]
            original = images[patch]
            expected = prediction[image, place].reshape(4, 4, 2)
            # The statistics of the loss: n - 1, and an epsilon of 1e-6.
            expected = expected * np.sqrt(original.var(ddof=1) + 1e-6)
            expected = expected + original.mean()
            np.testing.assert_allclose(
                rebuilt["reconstruction"][patch], expected, rtol=1e-4, atol=1e-5
            )


def test_arrays_follow_weights_and_step():
    """What is compiled for figures holds no constant of the training."""
    images, model = images_of(2), predicting_clmae()

    def check():
        arrays = visualization.reconstruct_arrays(model, images)
        expected = model.reconstruct(images)
        for name, key in (("keep_scores", "keep_scores"), ("mask", "mask")):
            np.testing.assert_allclose(
                arrays[name], ops.convert_to_numpy(expected[key]), atol=1e-5
            )
        np.testing.assert_allclose(
            arrays["reconstruction"],
            ops.convert_to_numpy(expected["images"]),
            atol=1e-5,
        )
        return arrays

    # Not compiled, the factor is that of the end.
    hard = check()
    model.compile(adamw(), adamw(), curriculum=LinearCurriculum(10), **QUICK)
    easy = check()
    np.testing.assert_allclose(
        easy["keep_scores"], -hard["keep_scores"], atol=1e-5
    )
    model.autoencoder_optimizer.iterations.assign(10)
    np.testing.assert_allclose(
        check()["keep_scores"], hard["keep_scores"], atol=1e-5
    )
    for variable in model.trainable_variables:
        variable.assign(0.5 * variable)
    again = check()
    assert np.abs(again["reconstruction"] - hard["reconstruction"]).max() > 0.01


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="JAX compiles")
def test_figures_compile_once(monkeypatch):
    images, model = images_of(2), tiny_clmae()
    called = []
    reconstruct = model.reconstruct
    monkeypatch.setattr(
        type(model),
        "reconstruct",
        lambda self, *arguments: called.append(1) or reconstruct(*arguments),
    )
    for _ in range(3):
        visualization.reconstruct_arrays(model, images)
    assert len(called) == 1


def test_random_masks_are_the_same_at_every_call():
    images, model = images_of(2), tiny_autoencoder(seed=0)
    first, second = (
        visualization.reconstruct_arrays(model, images, "random")
        for _ in range(2)
    )
    np.testing.assert_array_equal(first["mask"], second["mask"])
    assert len({tuple(mask) for mask in first["mask"]}) > 1


def test_rgb_inverts_the_normalization_and_picks_channels():
    pixels = np.random.default_rng(0).integers(0, 256, (2, 4, 4, 5), "uint8")
    normalization = PixelNormalization([0.1, 0.2, 0.3, 0.4, 0.5], [0.5] * 5)
    images = normalization(pixels)
    for shown_channels, expected in (
        (None, [0, 1, 2]),
        ((4, 2, 0), [4, 2, 0]),
        ((3,), [3, 3, 3]),
        (1, [1, 1, 1]),
    ):
        rgb = visualization.rgb_function(
            images, normalization.inverse, shown_channels
        )
        np.testing.assert_allclose(
            rgb(images), pixels[..., expected] / np.float32(255), atol=1e-6
        )
    gray = visualization.rgb_function(images[..., :1])(images[..., :1])
    assert gray.min() == 0 and gray.max() == 1
    np.testing.assert_array_equal(gray[..., 0], gray[..., 2])


def test_removed_patches_are_painted_over():
    image = np.zeros((8, 12, 3), "float32")
    mask = np.array([0, 1, 1, 0, 1, 1])
    visible = visible_image(image, mask, GRID)
    np.testing.assert_array_equal(visible[:, :4], 0)
    np.testing.assert_array_equal(
        visible[:, 4:], np.broadcast_to(REMOVED, (8, 8, 3))
    )


def test_removed_error_counts_removed_pixels_only():
    images = np.zeros((1, 8, 12, 2), "float32")
    rebuilt = np.full_like(images, 7)
    rebuilt[0, :4, :4] = 2
    arrays = {"reconstruction": rebuilt, "mask": [[1, 0, 0, 0, 0, 0]]}
    assert removed_error(images, arrays, GRID) == 4


def test_images_that_are_nearly_black_are_stretched():
    """As of 12 bits in files of 16, where few of the 256 levels are used."""
    images = np.linspace(0, 1 / 16, 16, dtype="float32").reshape(1, 4, 4, 1)

    def inverse(values):
        return (values * 255).clip(0, 255).astype("uint8")

    rgb = visualization.rgb_function(images, inverse)
    assert rgb(images).min() == 0 and rgb(images).max() == 1
    assert len(np.unique(rgb(images))) == 16
    # Others are shown as they are.
    rgb = visualization.rgb_function(8 * images, inverse)
    assert rgb(8 * images).max() == np.float32(127 / 255)
