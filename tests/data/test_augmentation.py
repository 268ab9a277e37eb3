"""Mirroring, color jitter and functions of the user's own."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_clmae.data import PretrainTransform
from keras_clmae.data import image_folder
from keras_clmae.data.augmentation import augment_image
from keras_clmae.data.augmentation import jitter_colors
from keras_clmae.data.decoding import ImageDecoder
from tests.data.pictures import save_picture
from tests.once import ONCE

pytestmark = ONCE
# Standardized images are the pixels, 1 for white.
UNIT = ([0.0] * 3, [1.0] * 3)


def test_flip_mirrors_every_other_picture(tmp_path):
    save_picture(tmp_path / "p.png", size=(32, 32))
    transform = PretrainTransform(32, scale=(1, 1), aspect_ratio=(1, 1))
    contents = (tmp_path / "p.png").read_bytes()
    decoder = ImageDecoder(3, convert=False)
    draws = tf.data.Dataset.range(200).map(
        lambda number: transform.example(
            contents, decoder, tf.stack([number, 0])
        )
    )
    draws = np.stack(list(draws.as_numpy_iterator()))
    upright = (draws == draws[0]).all(axis=(1, 2, 3))
    mirrored = (draws == draws[0, :, ::-1]).all(axis=(1, 2, 3))
    assert (upright ^ mirrored).all() and 60 < upright.sum() < 140


def show(path, transform, number=0):
    """The pixels that a transform makes of a PNG file of three channels."""
    contents = tf.io.read_file(str(path))
    seed = tf.constant([number, 0], "int64")
    decoder = ImageDecoder(3, convert=False)
    return transform.example(contents, decoder, seed).numpy()


def test_share_of_mirrored_pictures(tmp_path):
    path = tmp_path / "p.png"
    picture = np.asarray(save_picture(path, size=(32, 32)), "float32")
    for flip, expected in (
        (False, picture),
        (0, picture),
        (1.0, picture[:, ::-1]),
    ):
        transform = PretrainTransform(32, (1, 1), (1, 1), flip=flip)
        for number in range(5):
            # A window of the whole image, of its own size.
            np.testing.assert_array_equal(
                show(path, transform, number), expected
            )


def test_jitter_changes_colors_and_no_places(tmp_path):
    """A picture of two colors keeps its two parts."""
    pixels = np.full((16, 16, 3), (200, 100, 50), "uint8")
    pixels[4:9, 2:7] = (40, 80, 120)
    Image.fromarray(pixels).save(tmp_path / "p.png")
    drawn = [
        show(
            tmp_path / "p.png",
            PretrainTransform(16, (1, 1), (1, 1), False, color_jitter=0.4),
            number,
        )
        for number in (0, 0, 1)
    ]
    for jittered in drawn:
        assert jittered.min() >= 0 and jittered.max() <= 255
        for part in (pixels[..., 0] == 40, pixels[..., 0] == 200):
            assert np.ptp(jittered[part], axis=0).max() < 1e-3
        assert np.abs(jittered - pixels).max() > 2
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert np.abs(drawn[0] - drawn[2]).max() > 2
    gray = jitter_colors(
        tf.fill((4, 4, 1), 100.0), 0.5, tf.constant([0, 0], "int64")
    )
    # Contrast leaves an even picture alone: brightness is what is left.
    assert np.ptp(gray) == 0 and 50 <= gray[0, 0, 0] <= 150


def test_a_function_of_the_users_own(tmp_path):
    for number in range(4):
        save_picture(tmp_path / f"{number}.png", seed=number)
    calls = []

    def shift(image, generator):
        calls.append((image.shape, image.dtype, image.max()))
        return image + generator.integers(1, 1000)

    def images(function, epoch=0, seed=3):
        transform = PretrainTransform(
            8, (1, 1), (1, 1), False, augmentation=function
        )
        dataset = image_folder(
            tmp_path, 8, 2, transform=transform, seed=seed, statistics=UNIT
        )
        dataset.set_epoch(epoch)
        return np.concatenate(list(dataset))

    plain, drawn, again = images(None), images(shift), images(shift)
    assert len(calls) == 8
    assert calls[0][:2] == ((8, 8, 3), np.float32) and calls[0][2] > 1
    # Exactly repeatable, and each image has draws of its own.
    np.testing.assert_array_equal(drawn, again)
    shifts = np.rint((drawn - plain)[:, 0, 0, 0] * 255).tolist()
    assert len(set(shifts)) == 4 and min(shifts) >= 1
    other = images(shift, epoch=1) - images(None, epoch=1)
    assert set(np.rint(other[:, 0, 0, 0] * 255).tolist()) != set(shifts)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda image, generator: image[1:], "returned shape"),
        (lambda image: image, "raised TypeError"),
        (lambda image, generator: image * np.nan, "of finite numbers"),
    ],
)
def test_functions_that_do_not_fit(function, message):
    image = np.zeros((4, 4, 1), "float32")
    with pytest.raises(ValueError, match=f"`augmentation` must .*{message}"):
        augment_image(function, image, np.random.default_rng(0))
