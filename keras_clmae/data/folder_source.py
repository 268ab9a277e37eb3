"""Read a folder of image files as a data set."""

import os
import warnings

import numpy as np

from keras_clmae.data.damage import diagnose
from keras_clmae.data.damage import display_name
from keras_clmae.data.decoding import SIGNATURES
from keras_clmae.data.decoding import ImageDecoder
from keras_clmae.data.decoding import jpeg_channels
from keras_clmae.data.decoding import read_pixels
from keras_clmae.data.device_dataset import DeviceDataset
from keras_clmae.data.device_dataset import check_device_transform
from keras_clmae.data.file_cache import DiskCache
from keras_clmae.data.file_cache import MemoryCache
from keras_clmae.data.fine_tuning import FineTuneTransform
from keras_clmae.data.fine_tuning import get_transform
from keras_clmae.data.folder_pixels import decode_all
from keras_clmae.data.folder_pixels import without_damaged
from keras_clmae.data.listing import check_subset
from keras_clmae.data.listing import list_images
from keras_clmae.data.listing import split_images
from keras_clmae.data.pipeline import get_normalization
from keras_clmae.data.pipeline import make_batches
from keras_clmae.data.pipeline import measure_statistics
from keras_clmae.data.sharding import EpochSampler
from keras_clmae.data.transforms import PretrainTransform
from keras_clmae.optional_imports import require

# Images that are looked at to find their number of channels.
_CHANNEL_SAMPLES = 256


def image_folder(
    path,
    image_size,
    batch_size,
    transform="pretrain",
    labels=False,
    channels=None,
    statistics="imagenet",
    validation_split=None,
    subset="training",
    num_classes=None,
    class_names=None,
    one_hot=False,
    shuffle=None,
    seed=0,
    drop_remainder=None,
    cache=None,
    on_error="skip",
    process_index=None,
    process_count=None,
):
    """Makes batches of the images in a folder.

    JPEG, PNG, GIF, TIFF, WebP, BMP, PPM and whatever else Pillow reads (the
    first frame or page), and NumPy files (`.npy`), in any depth of folders.
    In a training order each epoch is a new permutation of all files; order
    and random draws depend on `seed` and the number of the epoch only
    (keras-cv's own draws in `"fine_tune"` excepted).

    Args:
        path: str or path object. The folder.
        image_size: int, or pair of int (height, width).
        batch_size: int. Examples in a batch of this process.
        transform: `"pretrain"`, `"fine_tune"`, `"evaluation"`, or a
            transform such as `PretrainTransform(224, scale=(0.5, 1.0))`.
            Defaults to `"pretrain"`.
        labels: bool. Whether each folder directly below `path` is a class
            and batches are `(images, labels)`. Defaults to `False`.
        channels: 1, 3 or 4 to convert all images to this number, or `None`
            to take them as they are; gray and color images together become
            RGB, with a warning. Defaults to `None`.
        statistics: `"imagenet"`, `"from_data"` to measure the images (of
            the training part) in one pass, or a pair (mean, std) in units of
            white = 1. Defaults to `"imagenet"`.
        validation_split: float between 0 and 1. Share of the images that
            are for validation, or `None`. It depends on `seed` and the paths
            below `path` only. Defaults to `None`.
        subset: `"training"`, `"validation"`, or `"both"` for a pair of data
            sets, the second one in fixed order with the evaluation
            transform. Defaults to `"training"`.
        num_classes: int. The largest number of classes that is allowed,
            and the width of one-hot labels, or `None` for the number of
            folders. Defaults to `None`.
        class_names: list of str. The classes in the order of their
            numbers, such as `class_names` of the training data for a folder
            of test images. It may lack some of them; another class is an
            error. Defaults to `None`: the sorted names of the folders.
        one_hot: bool. Whether labels are one-hot floats, as they always
            are with `"fine_tune"`. Defaults to `False`.
        shuffle: bool, or `None` for `True` with a training transform.
            Defaults to `None`.
        seed: int. 0 or more. Defaults to `0`.
        drop_remainder: bool. Whether to leave out a last batch that is
            not full, or `None` for the value of `shuffle`. Defaults to
            `None`.
        cache: `"memory"` to keep the files in memory once they are read, a
            path to keep copies in a folder on a faster disk (which are made
            anew where size or time of a file differ), `"device"` for a
            `DeviceDataset` of images of one size where the transform is
            `"pretrain"`, and as with `"memory"` where it is not, or `None`.
            Defaults to `None`.
        on_error: `"skip"` to leave out images that cannot be read, with one
            warning for each that names it and their count at the end, or
            `"raise"` to stop at the first one. In a training order they are
            found on the way, and other images take their places; for a
            fixed order all images are read once beforehand, so that
            `file_paths` and the length are right. Defaults to `"skip"`.
        process_index: int or `None`. See `process_shard`.
        process_count: int or `None`. See `process_shard`.

    Returns:
        A `tf.data.Dataset` of batches of float32 images of shape
        `(batch_size, height, width, channels)`, or of pairs with their
        labels (int32, shape `(batch_size,)`), for `fit`, `evaluate` and
        `predict` on every backend. It has the attributes `num_examples`,
        `batch_size`, `steps_per_epoch`, `class_names`, `num_classes`,
        `labels` (all of them, in the order of `file_paths`), `file_paths`,
        `normalization`, `skipped` and `set_epoch`, and in a fixed order
        `names` (paths below `path`). A pair of such data sets for
        `subset="both"`.

    Raises:
        FileNotFoundError: If there is no such path.
        ValueError: If the folder or an argument cannot be used; each message
            names the argument.

    Example:

    ```python
    dataset = keras_clmae.data.image_folder(
        "photos", image_size=32, batch_size=128
    )
    model.fit(dataset, epochs=100, shuffle=False)
    ```
    """
    require("tensorflow", "`image_folder`")
    check_subset(subset, validation_split)
    transform = get_transform(transform, image_size, labels)
    if cache == "device" and isinstance(transform, PretrainTransform):
        check_device_transform(transform)
    images = list_images(path, labels, num_classes, class_names)
    if validation_split is None:
        subsets = {"training": images}
    else:
        training, validation = split_images(images, validation_split, seed)
        subsets = {"training": training, "validation": validation}
    decoder = make_decoder(images, channels)

    def measure():
        sampler = EpochSampler(
            len(subsets["training"]),
            batch_size=1,
            shuffle=False,
            process_index=0,
            process_count=1,
        )
        source = _FolderSource(subsets["training"], cache, decoder, sampler)
        return measure_statistics(source, decoder, transform.image_size)

    normalization = get_normalization(statistics, decoder.channels, measure)

    def build(part, transform, shuffle, drop_remainder):
        if shuffle is None:
            shuffle = transform.is_training
        if drop_remainder is None:
            drop_remainder = shuffle
        on_device = cache == "device" and isinstance(
            transform, PretrainTransform
        )
        images, skipped = subsets[part], {}
        if on_error == "skip" and (on_device or not shuffle):
            images, skipped = without_damaged(images, decoder)
        order = {
            "batch_size": batch_size,
            "shuffle": shuffle,
            "seed": seed,
            "drop_remainder": drop_remainder,
            "process_index": process_index,
            "process_count": process_count,
        }
        if on_device:
            targets = images.labels
            if one_hot and labels:
                count = num_classes or len(images.class_names)
                targets = np.eye(count, dtype="float32")[targets]
            dataset = DeviceDataset(
                decode_all(images, decoder),
                targets,
                transform,
                normalization,
                **order,
            )
        else:
            sampler = EpochSampler(len(images), **order)
            dataset = make_batches(
                _FolderSource(images, cache, decoder, sampler),
                sampler,
                transform,
                decoder,
                normalization,
                labels=labels,
                one_hot=one_hot,
                num_classes=num_classes or len(images.class_names or ()),
                on_error=on_error,
            )
            dataset.labels = images.labels
            skipped = skipped or dataset.skipped
        dataset.skipped = skipped
        dataset.class_names = images.class_names
        dataset.file_paths = images.paths
        if not shuffle:
            dataset.names = images.names
        return dataset

    if subset != "both":
        return build(subset, transform, shuffle, drop_remainder)
    # Fine-tuning trains on one-hot labels, and so is validated on them.
    one_hot = one_hot or isinstance(transform, FineTuneTransform)
    evaluation = get_transform("evaluation", transform.image_size, labels)
    return (
        build("training", transform, shuffle, drop_remainder),
        build("validation", evaluation, False, False),
    )


class _FolderSource:
    """Files of a folder as records for `make_batches`.

    Args:
        images: An `ImageList`.
        cache: `"memory"` or `"device"`, a path, or `None`.
        decoder: An `ImageDecoder`.
        sampler: An `EpochSampler`.
    """

    def __init__(self, images, cache, decoder, sampler):
        self.paths = images.paths
        self.decoder = decoder
        self.sampler = sampler
        labels = images.labels
        if labels is None:
            labels = np.zeros(len(images), "int32")
        tf = require("tensorflow", "`image_folder`")
        self._tf = tf
        self._path_tensor = tf.constant([os.fsencode(p) for p in self.paths])
        self._label_tensor = tf.constant(labels)
        self._read = tf.io.read_file
        if cache is not None:
            in_memory = cache in ("memory", "device")
            reader = MemoryCache() if in_memory else DiskCache(cache)
            self._read = lambda path: tf.ensure_shape(
                tf.numpy_function(reader, [path], "string"), ()
            )

    def stream(self, epoch):
        order = self._tf.numpy_function(self.sampler.order, [epoch], "int64")
        return self._tf.data.Dataset.from_tensor_slices(
            self._tf.ensure_shape(order, (None,))
        )

    def load(self, record):
        contents = self._read(self._path_tensor[record])
        return contents, self._label_tensor[record]

    def describe(self, epoch, position):
        order = self.sampler.order(epoch)
        path = self.paths[order[position % len(order)]]
        return display_name(path), diagnose(path, self.decoder)


def make_decoder(images, channels=None):
    """Makes the decoder for the images of a folder.

    Args:
        images: An `ImageList`.
        channels: 1, 3 or 4 to convert all images to this number, or `None`
            for the number that they have. Gray and color images together
            become RGB, with a warning. Defaults to `None`.

    Returns:
        An `ImageDecoder`.

    Raises:
        ValueError: If the images have different numbers of channels that make
            no RGB, or none of those that are looked at can be read.
    """
    if channels is not None:
        return ImageDecoder(channels, convert=True)
    found = _find_channels(images)
    if len(found) == 1:
        (count,) = found
        # The images that are not looked at may be gray.
        return ImageDecoder(count, convert=count == 3)
    examples = ", ".join(
        f"{count} in {display_name(path)!r}" for count, path in found.items()
    )
    if not set(found) <= {1, 2, 3, 4}:
        raise ValueError(
            "`path` must be a folder of images with one number of channels, "
            "or of gray and color ones. Received: numbers of channels "
            f"{examples}"
        )
    warnings.warn(
        f"Converted all images of {images.root!r} to RGB: their numbers of "
        f"channels differ, {examples}. Pass `channels` for another number.",
        stacklevel=3,
    )
    return ImageDecoder(3, convert=True)


def _find_channels(images):
    """Maps each number of channels to an image that has it."""
    tf = require("tensorflow", "`image_folder`")
    paths = images.paths
    stride = max(1, len(paths) // _CHANNEL_SAMPLES)
    found = {}
    for path in paths[::stride]:
        try:
            with open(path, "rb") as file:
                contents = file.read()
            if contents.startswith(SIGNATURES["JPEG"]):
                count = jpeg_channels(contents)
            else:
                count = read_pixels(contents).shape[-1]
        # Whatever a decoder raises for a damaged file, which is named later.
        except (OSError, ValueError, SyntaxError, tf.errors.OpError):
            continue
        found.setdefault(count, path)
    if not found:
        reason = diagnose(paths[0], ImageDecoder(3, convert=True))
        raise ValueError(
            "`path` must be a folder with images that can be read. "
            f"Received: {images.root!r}, where "
            f"{display_name(paths[0])!r} cannot be read: {reason}"
        )
    return found
