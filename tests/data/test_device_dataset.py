"""Images on the device are cropped as in `tf.data`, and train every backend."""

import keras
import numpy as np
import pytest
from keras import ops

import keras_clmae
from keras_clmae.data import DeviceDataset
from keras_clmae.data import PretrainTransform
from keras_clmae.data import crops
from keras_clmae.data import image_folder
from keras_clmae.data.device_crops import crop_batch
from keras_clmae.data.device_crops import windows_of_draws
from tests.data.pictures import epoch_numbers
from tests.data.pictures import save_picture
from tests.once import ONCE
from tests.tiny_models import SIZES


def pictures(count, height=32, width=40, channels=3):
    random = np.random.default_rng(0)
    shape = (count, height, width, channels)
    return random.integers(0, 256, shape, dtype="uint8")


def as_array(batch):
    return ops.convert_to_numpy(batch)


@ONCE
@pytest.mark.parametrize("scale", [(0.2, 1.0), (1.0, 1.0)])
def test_windows_are_those_of_the_same_draws_in_tf_data(scale):
    tf = pytest.importorskip("tensorflow")
    aspect_ratio, shape = (3 / 4, 4 / 3), (32, 48)
    seeds = [(0, position) for position in range(200)]
    draws = [
        tf.random.stateless_uniform((crops.ATTEMPTS + 1, 2), seed).numpy()
        for seed in seeds
    ]
    expected = [
        crops.random_window(shape, seed, scale, aspect_ratio).numpy()
        for seed in seeds
    ]
    windows = windows_of_draws(np.stack(draws), shape, scale, aspect_ratio)
    # A side may round to the other neighbor in float32.
    assert (windows != expected).any(axis=1).mean() < 0.02
    np.testing.assert_allclose(windows, expected, atol=1)


@pytest.mark.parametrize("image_size", [(32, 32), (12, 20), (7, 9)])
def test_crops_are_those_of_tf_data(image_size):
    pytest.importorskip("tensorflow")
    images = pictures(6)
    windows = np.array(
        [
            (0, 0, 32, 40),
            (3, 5, 20, 17),
            (0, 39, 32, 1),
            (31, 0, 1, 1),
            (2, 1, 28, 39),
            (10, 11, 14, 18),
        ]
    )
    mirror = np.array([False, True, False, True, False, True])
    cropped = as_array(crop_batch(images, windows, mirror, image_size))
    assert cropped.dtype == "float32"
    for image, window, flipped, found in zip(
        images, windows, mirror, cropped, strict=True
    ):
        top, left, height, width = window
        cut = image[top : top + height, left : left + width]
        expected = crops.resize_window(cut.astype("float32"), image_size)
        expected = np.clip(expected.numpy(), 0, 255)
        expected = expected[:, ::-1] if flipped else expected
        # TensorFlow reads its kernel from a table of 1,024 places.
        np.testing.assert_allclose(found, expected, atol=0.25)


def test_batches_depend_on_seed_epoch_and_place():
    images, labels = pictures(10), np.arange(10)

    def batches(seed, epoch=0):
        dataset = DeviceDataset(images, labels, batch_size=4, seed=seed)
        dataset.set_epoch(epoch)
        return [(as_array(x), y) for x, y in dataset]

    first, again = batches(1), batches(1)
    assert [len(x) for x, _ in first] == [4, 4, 2]
    assert sorted(np.concatenate([y for _, y in first])) == list(range(10))
    for (x, y), (x_again, y_again) in zip(first, again, strict=True):
        np.testing.assert_array_equal(x, x_again)
        np.testing.assert_array_equal(y, y_again)
    for other in (batches(2), batches(1, epoch=1)):
        assert not np.array_equal(first[0][0], other[0][0])


def test_the_rest_of_an_epoch_is_the_same():
    dataset = DeviceDataset(pictures(12), batch_size=4, seed=1)
    dataset.set_epoch(3)
    dataset.on_epoch_begin()
    whole = [as_array(batch[0]) for batch in dataset]
    again = DeviceDataset(pictures(12), batch_size=4, seed=1)
    again.set_epoch(3)
    rest = keras_clmae.data.remaining_steps(again, 1)
    rest.on_epoch_begin()
    for index, expected in enumerate(whole[1:]):
        np.testing.assert_array_equal(as_array(rest[index][0]), expected)
    assert again.epoch == dataset.epoch == 3


def test_whole_images_are_standardized_and_half_of_them_mirrored():
    images = pictures(64, 8, 8, 1)
    dataset = DeviceDataset(
        images,
        np.arange(64),
        transform=PretrainTransform(8, scale=(1, 1), aspect_ratio=(1, 1)),
        statistics=([0.5], [0.25]),
        batch_size=64,
    )
    batch, numbers = dataset[0]
    expected = (images[numbers] / 255 - 0.5) / 0.25
    batch = as_array(batch)
    same = np.isclose(batch, expected, atol=1e-4).all(axis=(1, 2, 3))
    mirrored = np.isclose(batch, expected[:, :, ::-1], atol=1e-4)
    mirrored = mirrored.all(axis=(1, 2, 3))
    assert (same | mirrored).all()
    assert 20 <= mirrored.sum() <= 44


def test_batches_are_tensors_of_the_backend():
    (batch,) = DeviceDataset(pictures(4), batch_size=4)[0]
    assert ops.is_tensor(batch)
    assert keras.backend.standardize_dtype(batch.dtype) == "float32"


def test_statistics_from_data():
    images = pictures(8)
    images[..., 0] //= 2
    found = DeviceDataset(images, statistics="from_data").normalization
    pixels = images / 255
    np.testing.assert_allclose(found.mean, pixels.mean((0, 1, 2)), rtol=1e-5)
    np.testing.assert_allclose(found.std, pixels.std((0, 1, 2)), rtol=1e-5)
    images[..., 1] = 7
    with pytest.raises(ValueError, match="vary in every channel"):
        DeviceDataset(images, statistics="from_data")


def test_pixels_are_0_to_255():
    images = pictures(4)
    for wrong in (images * 2.0, images - 1.0, images * np.nan):
        with pytest.raises(ValueError, match="`images` must be from 0"):
            DeviceDataset(wrong)
    with pytest.warns(UserWarning, match="Multiply them by 255"):
        DeviceDataset(images / 255)


@pytest.mark.parametrize(
    "transform",
    [
        PretrainTransform(8, color_jitter=0.4),
        PretrainTransform(8, augmentation=lambda image, generator: image),
        keras_clmae.data.EvaluationTransform(8),
    ],
)
def test_other_transforms_are_refused(transform):
    with pytest.raises(ValueError, match="`transform` must be a Pretrain"):
        DeviceDataset(pictures(4), transform=transform)


def test_fit_trains_on_it():
    keras.utils.set_random_seed(0)
    dataset = DeviceDataset(
        pictures(32, 12, 16, channels=2),
        transform=PretrainTransform((8, 12)),
        statistics="from_data",
        batch_size=8,
    )
    model = keras_clmae.models.MaskedAutoencoder.from_sizes(**SIZES)
    model.compile(keras_clmae.optimizers.AdamW(1e-2))
    history = model.fit(dataset, epochs=3, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    assert dataset.epoch == 2


def test_a_folder_on_the_device(picture_folder):
    pytest.importorskip("tensorflow")
    # Damaged images are left out before, as in a fixed order.
    (picture_folder / "class 1" / "text.jpg").write_text("not a picture")
    arguments = dict(image_size=16, batch_size=4, labels=True)
    with pytest.warns(UserWarning) as caught:
        dataset = image_folder(picture_folder, cache="device", **arguments)
    messages = [str(warning.message) for warning in caught]
    assert len(messages) == 2 and "text.jpg" in messages[0]
    assert isinstance(dataset, DeviceDataset)
    assert dataset.num_examples == 12 and dataset.steps_per_epoch == 3
    assert [name for name in dataset.skipped if "text.jpg" in name]
    assert dataset.class_names == ["class 0", "class 1", "class 2"]
    assert len(dataset.file_paths) == 12
    pixels = ops.convert_to_numpy(dataset.images)
    assert pixels.dtype == "uint8" and pixels.shape == (12, 48, 64, 3)
    (picture_folder / "class 1" / "text.jpg").unlink()
    plain = image_folder(picture_folder, transform="evaluation", **arguments)
    np.testing.assert_array_equal(dataset.labels, plain.labels)
    batch, numbers = dataset[0]
    assert as_array(batch).shape == (4, 16, 16, 3)
    assert set(numbers) <= {0, 1, 2}
    # A fixed order is read as with "memory".
    fixed = image_folder(
        picture_folder, cache="device", transform="evaluation", **arguments
    )
    assert not isinstance(fixed, DeviceDataset)
    assert epoch_numbers(fixed.map(lambda x, y: x)) == epoch_numbers(
        plain.map(lambda x, y: x)
    )


@ONCE
def test_what_the_device_does_not_take(picture_folder):
    pytest.importorskip("tensorflow")
    save_picture(picture_folder / "class 0" / "zz.jpg", size=(48, 60))
    with pytest.raises(ValueError, match="64 x 48 and 60 x 48 pixels"):
        image_folder(picture_folder, 16, 4, cache="device")
    transform = PretrainTransform(16, color_jitter=0.2)
    with pytest.raises(ValueError, match=r"Received: color_jitter=0\.2"):
        image_folder(picture_folder, 16, 4, cache="device", transform=transform)


@ONCE
def test_one_hot_labels_and_more_than_8_bits(tmp_path):
    pytest.importorskip("tensorflow")
    for number in range(4):
        place = tmp_path / f"class {number % 2}" / f"{number}.npy"
        place.parent.mkdir(exist_ok=True)
        np.save(place, np.full((8, 8), 1000 * number + 1, "uint16"))
    dataset = image_folder(
        tmp_path, 8, 4, cache="device", labels=True, one_hot=True
    )
    pixels = ops.convert_to_numpy(dataset.images)[:, 0, 0, 0]
    np.testing.assert_allclose(
        pixels, np.array([1, 2001, 1001, 3001]) / 257, rtol=1e-6
    )
    assert dataset[0][1].shape == (4, 2)
