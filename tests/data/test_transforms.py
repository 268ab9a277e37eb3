"""Windows, resizing and normalization against their definitions."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from PIL import ImageOps

from keras_clmae.data import EvaluationTransform
from keras_clmae.data import FineTuneTransform
from keras_clmae.data import PixelNormalization
from keras_clmae.data import PretrainTransform
from keras_clmae.data import image_folder
from keras_clmae.data.crops import random_window
from keras_clmae.data.crops import reduction_index
from keras_clmae.data.decoding import ImageDecoder
from keras_clmae.data.fine_tuning import erase_rectangles
from tests.data.pictures import save_picture
from tests.data.pictures import smooth_picture
from tests.once import ONCE

pytestmark = ONCE
# Standardized images are the pixels, 1 for white.
UNIT = ([0.0] * 3, [1.0] * 3)


def draw_windows(shape, count=4000, scale=(0.2, 1.0), ratio=(3 / 4, 4 / 3)):
    windows = tf.data.Dataset.range(count).map(
        lambda number: random_window(
            tf.constant(shape), tf.stack([number, 0]), scale, ratio
        )
    )
    return np.stack(list(windows.as_numpy_iterator())).astype("float64")


def quantiles(values):
    return np.quantile(values, [0.05, 0.25, 0.5, 0.75, 0.95])


def test_area_and_aspect_of_the_windows():
    # Areas up to a half fit into a square for every aspect ratio: no draw is
    # rejected, and both distributions are uniform.
    top, left, height, width = draw_windows((1000, 1000), scale=(0.2, 0.5)).T
    area = height * width / 1e6
    expected = 0.2 + 0.3 * np.array([0.05, 0.25, 0.5, 0.75, 0.95])
    np.testing.assert_allclose(quantiles(area), expected, atol=0.012)
    aspect = np.log(width / height) / np.log(4 / 3)
    expected = np.array([-0.9, -0.5, 0, 0.5, 0.9])
    np.testing.assert_allclose(quantiles(aspect), expected, atol=0.06)
    assert abs(np.corrcoef(area, aspect)[0, 1]) < 0.06
    place = top / (1000 - height)
    expected = [0.05, 0.25, 0.5, 0.75, 0.95]
    np.testing.assert_allclose(quantiles(place), expected, atol=0.03)
    assert ((top + height <= 1000) & (left + width <= 1000)).all()


def test_windows_against_rejection_sampling():
    rng = np.random.default_rng(0)
    height, width = 300, 500
    areas = rng.uniform(0.2, 1, 20_000) * height * width
    ratios = np.exp(rng.uniform(np.log(3 / 4), np.log(4 / 3), 20_000))
    heights, widths = np.sqrt(areas / ratios), np.sqrt(areas * ratios)
    fits = (heights.round() <= height) & (widths.round() <= width)
    _, _, drawn_heights, drawn_widths = draw_windows((height, width)).T
    for drawn, reference in (
        (drawn_heights, heights[fits]),
        (drawn_widths, widths[fits]),
    ):
        np.testing.assert_allclose(
            quantiles(drawn), quantiles(reference), rtol=0.03
        )


def test_central_window_of_a_long_picture():
    windows = draw_windows((10, 1000), count=20)
    assert (windows[:, 2] == 10).all() and (windows[:, 3] == 13).all()
    assert (windows[:, 1] == 493).all()


def test_reduction_leaves_enough_pixels():
    for side, expected in ((223, 0), (447, 0), (448, 1), (900, 2), (9000, 3)):
        index = reduction_index(tf.constant([side, 5000]), (224, 224))
        assert int(index) == expected


def reference_evaluation(path, size):
    with Image.open(path) as picture:
        picture = ImageOps.exif_transpose(picture).convert("RGB")
        frame = round(size * 256 / 224)
        factor = frame / min(picture.size)
        width, height = (max(frame, int(s * factor)) for s in picture.size)
        picture = picture.resize((width, height), Image.BICUBIC)
        left, top = (width - size) // 2, (height - size) // 2
        return np.asarray(picture.crop((left, top, left + size, top + size)))


@pytest.mark.parametrize("size", [224, 64, 24])
def test_evaluation_equals_pillow(photographs, size):
    """Reduced while they are decoded or not: Pillow reads all pixels."""
    dataset = image_folder(
        photographs, size, 10, transform="evaluation", channels=3
    )
    pixels = np.concatenate(
        [dataset.normalization.inverse(images) for images in dataset]
    )
    expected = np.stack(
        [reference_evaluation(path, size) for path in dataset.file_paths]
    )
    error = np.abs(pixels - expected.astype("float32")).mean((1, 2, 3))
    assert error.max() < 2 and error.mean() < 0.8


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("height, width", [(253, 331), (334, 251)])
def test_reduced_photographs_keep_their_place(
    tmp_path, orientation, height, width
):
    """No side is a multiple of what the photograph is reduced by."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"exif": exif, "quality": 95}
    save_picture(tmp_path / "p.jpg", size=(height, width), **options)
    transform = EvaluationTransform(28)
    contents = tf.io.read_file(str(tmp_path / "p.jpg"))
    pixels = transform.example(contents, ImageDecoder(3, False), None)
    expected = reference_evaluation(tmp_path / "p.jpg", 28).astype("float32")
    # Of rounding; a shift by half a pixel makes 4.
    assert np.abs(pixels - expected).mean() < 0.5


@pytest.mark.parametrize("size", [(24, 20), (40, 64), (96, 96)])
@pytest.mark.parametrize("orientation", [1, 6])
def test_reduced_windows_keep_their_place(tmp_path, size, orientation):
    """As if all pixels of the window had been decoded."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"exif": exif, "quality": 95}
    save_picture(tmp_path / "p.jpg", size=(501, 403), **options)
    contents = tf.io.read_file(str(tmp_path / "p.jpg"))
    transform = PretrainTransform(size, scale=(0.7, 1.0), flip=False)
    with Image.open(tmp_path / "p.jpg") as picture:
        picture = ImageOps.exif_transpose(picture)
    for number in range(4):
        seed = tf.constant([number, 0], "int64")
        pixels = transform.example(contents, ImageDecoder(3, False), seed)
        top, left, height, width = random_window(
            picture.size[::-1], seed, (0.7, 1.0), (3 / 4, 4 / 3)
        ).numpy()
        if orientation == 6:
            # Its place is counted before left and right are exchanged.
            left = picture.size[0] - left - width
        box = (left, top, left + width, top + height)
        expected = picture.resize(size[::-1], Image.BICUBIC, box=box)
        error = np.abs(pixels - np.asarray(expected, "float32")).mean()
        # Of rounding; a shift by half a pixel makes 2 and more.
        assert error < 0.7, (number, error)


def test_reduced_photographs_differ_little(photographs):
    transform = PretrainTransform(32, scale=(0.3, 1.0), flip=False)
    decoder = ImageDecoder(3, convert=True)
    errors = []
    for number, path in enumerate(sorted(photographs.glob("*.JPEG"))[:12]):
        seed = tf.constant([number, 0], "int64")
        pixels = transform.example(tf.io.read_file(str(path)), decoder, seed)
        with Image.open(path) as picture:
            picture = picture.convert("RGB")
            top, left, height, width = random_window(
                picture.size[::-1], seed, (0.3, 1.0), (3 / 4, 4 / 3)
            ).numpy()
            box = (left, top, left + width, top + height)
            expected = np.asarray(
                picture.resize((32, 32), Image.BICUBIC, box=box), "float32"
            )
        errors.append(np.abs(pixels - expected).mean())
    assert np.mean(errors) < 1


def test_pretrain_crop_equals_pillow(photographs):
    """Made smaller, the same window differs by the kernel alone."""
    transform = PretrainTransform(224, scale=(0.15, 0.25), flip=False)
    decoder = ImageDecoder(3, convert=True)
    errors = []
    for number, path in enumerate(sorted(photographs.glob("*.JPEG"))[:8]):
        seed = tf.constant([number, 0], "int64")
        pixels = transform.example(tf.io.read_file(str(path)), decoder, seed)
        with Image.open(path) as picture:
            picture = picture.convert("RGB")
            top, left, height, width = random_window(
                picture.size[::-1], seed, (0.15, 0.25), (3 / 4, 4 / 3)
            ).numpy()
            box = (left, top, left + width, top + height)
            expected = np.asarray(
                picture.resize((224, 224), Image.BICUBIC, box=box), "float32"
            )
        errors.append(np.abs(pixels - expected).mean())
    assert np.median(errors) < 2


@pytest.mark.parametrize("kind", ["png", "npy", "jpg"])
def test_fine_patterns_do_not_turn_into_coarse_ones(tmp_path, kind):
    """A checkerboard of pixels becomes gray, as in the evaluation."""
    board = (np.indices((896, 896)).sum(axis=0) % 2 * 255).astype("uint8")
    path = tmp_path / f"board.{kind}"
    if kind == "npy":
        np.save(path, board)
    else:
        Image.fromarray(board).save(path)
    transform = PretrainTransform(224, scale=(1, 1), aspect_ratio=(1, 1))
    pixels = transform.example(
        tf.io.read_file(str(path)),
        ImageDecoder(1, convert=False),
        tf.constant([0, 0], "int64"),
    )
    assert np.std(pixels) < 1 and abs(np.mean(pixels) - 127.5) < 1


def test_lying_photograph_is_cropped_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    # Dark left half; upright, the dark half is above.
    pixels = np.zeros((40, 120, 3), "uint8")
    pixels[:, 60:] = 255
    Image.fromarray(pixels).save(tmp_path / "p.jpg", exif=exif, quality=95)
    transform = PretrainTransform((60, 20), (1, 1), (1 / 3, 1 / 3))
    dataset = image_folder(tmp_path, (60, 20), 1, transform=transform)
    (images,) = list(dataset)
    upright = dataset.normalization.inverse(images)[0]
    assert upright[:25].mean() < 10 and upright[35:].mean() > 245


def test_normalization_and_its_inverse():
    normalization = PixelNormalization([0.2, 0.4], [0.5, 0.25])
    pixels = smooth_picture(channels=2)
    images = normalization(pixels)
    np.testing.assert_allclose(
        images, (pixels / 255 - [0.2, 0.4]) / [0.5, 0.25], atol=1e-5
    )
    np.testing.assert_array_equal(normalization.inverse(images), pixels)
    for mean, std in (([], []), ([0.5], [0.5, 0.5]), ([np.nan], [1])):
        with pytest.raises(ValueError, match="`mean`"):
            PixelNormalization(mean, std)


def test_erased_rectangles():
    images = tf.zeros((2000, 32, 32, 1))
    erased = erase_rectangles(images, 0.25, tf.constant([0, 0], "int64"))
    share = np.mean(erased != 0, axis=(1, 2, 3))
    assert 0.2 < np.mean(share > 0) < 0.3
    share = share[share > 0]
    assert share.min() > 0.01 and share.max() < 0.36
    assert abs(np.std(erased[erased != 0]) - 1) < 0.02


@pytest.mark.parametrize(
    ("mixup", "cutmix"), [(0.0, 0.0), (0.8, 0.0), (0.0, 1.0)]
)
def test_fine_tuning_labels(picture_folder, mixup, cutmix):
    transform = FineTuneTransform(
        16, mixup_alpha=mixup, cutmix_alpha=cutmix, label_smoothing=0.3
    )
    dataset = image_folder(
        picture_folder, 16, 12, transform=transform, labels=True
    )
    ((images, labels),) = list(dataset)
    assert images.shape == (12, 16, 16, 3) and labels.dtype == "float32"
    np.testing.assert_allclose(np.sum(labels, axis=1), 1, rtol=1e-5)
    assert np.min(labels) >= 0.1 - 1e-6 and np.max(labels) <= 0.8 + 1e-6
    if not mixup and not cutmix:
        np.testing.assert_allclose(np.max(labels, axis=1), 0.8, rtol=1e-5)


def test_fine_tuning_of_gray_images_leaves_out_colors(tmp_path):
    for number in range(4):
        save_picture(tmp_path / str(number % 2) / f"{number}.png", "L")
    arguments = {"image_size": 16, "batch_size": 4, "labels": True}
    with pytest.warns(UserWarning, match="Left out RandAugment.*1 channel"):
        dataset = image_folder(tmp_path, transform="fine_tune", **arguments)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert next(iter(dataset))[0].shape == (4, 16, 16, 1)
        transform = FineTuneTransform(16, magnitude=0)
        image_folder(tmp_path, transform=transform, **arguments)


@pytest.mark.parametrize("magnitude", [0, 9])
def test_fine_tuning_under_mixed_precision(picture_folder, magnitude):
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        transform = FineTuneTransform(16, magnitude=magnitude)
        assert keras.config.dtype_policy().name == "mixed_bfloat16"
        dataset = image_folder(
            picture_folder, 16, 12, transform=transform, labels=True
        )
        for _ in range(2):
            images, labels = next(iter(dataset))
            assert images.dtype == labels.dtype == "float32"
    finally:
        keras.config.set_dtype_policy(policy)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: EvaluationTransform((8, 8, 8)), "`image_size`"),
        (lambda: EvaluationTransform(8, crop_fraction=0), "`crop_fraction`"),
        (lambda: PretrainTransform(8, scale=(0.5, 0.2)), "`scale`"),
        (lambda: PretrainTransform(8, aspect_ratio=(0, 1)), "`aspect_ratio`"),
        (lambda: PretrainTransform(8, flip=1.5), "`flip`"),
        (lambda: PretrainTransform(8, color_jitter=-1), "`color_jitter`"),
        (lambda: PretrainTransform(8, augmentation="blur"), "`augmentation`"),
        (lambda: FineTuneTransform(8, magnitude=31), "`magnitude`"),
        (lambda: FineTuneTransform(8, erasing_rate=-1), "`erasing_rate`"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()
