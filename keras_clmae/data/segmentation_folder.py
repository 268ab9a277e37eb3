"""Read folders of images and masks as a data set."""

import os
import warnings

import numpy as np

from keras_clmae.data import crops
from keras_clmae.data.damage import diagnose
from keras_clmae.data.damage import display_name
from keras_clmae.data.decoding import PictureDecoder
from keras_clmae.data.decoding import reverse
from keras_clmae.data.dependencies import require
from keras_clmae.data.image_folder import find_channels
from keras_clmae.data.listing import PictureList
from keras_clmae.data.listing import list_pictures
from keras_clmae.data.listing import split_pictures
from keras_clmae.data.mask_files import MaskReader
from keras_clmae.data.mask_files import find_num_classes
from keras_clmae.data.pipeline import get_normalization
from keras_clmae.data.pipeline import make_batches
from keras_clmae.data.pipeline import measure_statistics
from keras_clmae.data.sharding import EpochSampler
from keras_clmae.data.transforms import EvaluationTransform
from keras_clmae.data.transforms import PretrainTransform
from keras_clmae.data.transforms import normalize

_SUBSETS = ("training", "validation", "both")
# Pairs that are looked at before anything starts, for an early error.
_SAMPLES = 8


def segmentation_folder(
    images_dir,
    masks_dir,
    image_size,
    batch_size,
    num_classes=None,
    class_names=None,
    ignore_label=255,
    mask_suffix="",
    transform="fine_tune",
    channels=None,
    statistics="imagenet",
    validation_split=None,
    subset="training",
    shuffle=None,
    seed=0,
    drop_remainder=None,
    on_error="skip",
    process_index=None,
    process_count=None,
):
    """Makes batches of images and their masks from two folders.

    An image and its mask have the same path below their folders, but for the
    extension: `images/a/1.jpg` and `masks/a/1.png`. A mask holds one class
    number per pixel, as grey levels or as indices of a palette (PNG, GIF,
    BMP), in 8 or 16 bits, or as an integer `.npy` array. Both are cropped and
    flipped alike; images are resized by bicubic interpolation, masks by
    nearest neighbors. Images are of the kinds that `image_folder` reads.

    Args:
        images_dir: String or path object, the folder of images.
        masks_dir: String or path object, the folder of masks.
        image_size: Positive integer, or pair of them (height, width).
        batch_size: Positive integer, examples in a batch of this process.
        num_classes: Integer, or `None` for the number of `class_names`, or
            else one more than the highest label in the masks, all of which
            are read once for it. Defaults to `None`.
        class_names: List of strings, the classes in the order of their
            numbers, or `None`. Defaults to `None`.
        ignore_label: Integer, label of pixels of no class, or `None`. Defaults
            to `255`.
        mask_suffix: String that the names of masks have before their
            extension and images do not, such as `"_mask"`. Defaults to `""`.
        transform: `"fine_tune"` for random crops and flips, `"evaluation"`
            for the largest window in the middle, or a `SegmentationTransform`.
            Defaults to `"fine_tune"`.
        channels: As in `image_folder`. Defaults to `None`.
        statistics: As in `image_folder`. Defaults to `"imagenet"`.
        validation_split: Float between 0 and 1, share of the pairs that are
            for validation, or `None`. It depends on `seed` and the paths below
            the folders, without extensions, only. Defaults to `None`.
        subset: `"training"`, `"validation"`, or `"both"` for a pair of data
            sets, the second one in fixed order with the evaluation transform.
            Defaults to `"training"`.
        shuffle: Boolean, or `None` for `True` with a training transform.
            Defaults to `None`.
        seed: Non-negative integer. Defaults to `0`.
        drop_remainder: Boolean, whether to leave out a last batch that is not
            full, or `None` for the value of `shuffle`. Defaults to `None`.
        on_error: `"skip"` to leave out pairs of which a file is damaged, with
            a warning for each, or `"raise"`. A mask of another size than its
            image, or with labels of no class, is an error in any case.
            Defaults to `"skip"`.
        process_index: Integer or `None`, see `process_shard`.
        process_count: Integer or `None`, see `process_shard`.

    Returns:
        A `tf.data.Dataset` of pairs, float32 images of shape `(batch_size,
        height, width, channels)` and int32 masks of shape `(batch_size,
        height, width)`. It has the attributes that `image_folder` names but
        for `labels`, and `ignore_label` and `mask_paths`. A pair of such data
        sets for `subset="both"`.

    Raises:
        FileNotFoundError: If there is no such folder.
        ValueError: If the folders or an argument cannot be used; each message
            names the argument.

    Example:

    ```python
    dataset = keras_clmae.data.segmentation_folder(
        "images", "masks", image_size=224, batch_size=16, num_classes=21
    )
    segmenter.fit(dataset, epochs=100, shuffle=False)
    ```
    """
    require("tensorflow", "`segmentation_folder`")
    if subset not in _SUBSETS:
        raise ValueError(
            f"`subset` must be one of {_SUBSETS}. Received: subset={subset!r}"
        )
    if subset != "training" and validation_split is None:
        raise ValueError(
            "`validation_split` must be given with "
            f"`subset={subset!r}`. Received: validation_split=None"
        )
    transform = _get_transform(transform, image_size)
    images, masks = list_pairs(images_dir, masks_dir, mask_suffix)
    if class_names is not None:
        if num_classes not in (None, len(class_names)):
            raise ValueError(
                "`class_names` must hold `num_classes` names. Received: "
                f"num_classes={num_classes}, class_names={class_names}"
            )
        num_classes = len(class_names)
    if num_classes is None:
        num_classes = find_num_classes(masks.paths, ignore_label)
    reader = MaskReader(num_classes, ignore_label)
    convert = channels is not None
    if not convert:
        channels = find_channels(images)
    decoder = PictureDecoder(channels, convert)
    stride = max(1, len(images) // _SAMPLES)
    for number in range(0, len(images), stride):
        _trouble(images.paths[number], masks.paths[number], decoder, reader)
    parts = {"training": np.ones(len(images), bool)}
    if validation_split is not None:
        parts = _split(images, validation_split, seed)

    def measure():
        pictures = images.select(parts["training"])
        sampler = EpochSampler(
            len(pictures), 1, shuffle=False, process_index=0, process_count=1
        )
        source = _PairSource(pictures, None, decoder, reader, sampler)
        return measure_statistics(source, decoder, transform.image_size)

    normalization = get_normalization(statistics, channels, measure)

    def build(part, transform, shuffle, drop_remainder):
        if shuffle is None:
            shuffle = transform.is_training
        if drop_remainder is None:
            drop_remainder = shuffle
        chosen = (each.select(parts[part]) for each in (images, masks))
        chosen_images, chosen_masks = chosen
        sampler = EpochSampler(
            len(chosen_images),
            batch_size,
            shuffle=shuffle,
            seed=seed,
            drop_remainder=drop_remainder,
            process_index=process_index,
            process_count=process_count,
        )
        source = _PairSource(
            chosen_images, chosen_masks, decoder, reader, sampler
        )
        dataset = make_batches(
            source,
            sampler,
            _PairTransform(transform, reader),
            decoder,
            normalization,
            labels=True,
            num_classes=num_classes,
            on_error=on_error,
        )
        dataset.transform = transform
        dataset.class_names = class_names and list(class_names)
        dataset.ignore_label = ignore_label
        dataset.file_paths = chosen_images.paths
        dataset.mask_paths = chosen_masks.paths
        return dataset

    if subset != "both":
        return build(subset, transform, shuffle, drop_remainder)
    evaluation = _get_transform("evaluation", transform.image_size)
    return (
        build("training", transform, shuffle, drop_remainder),
        build("validation", evaluation, False, False),
    )


class SegmentationTransform(PretrainTransform):
    """Random resized crop and horizontal flip of an image with its mask.

    Args:
        image_size: Integer, or pair of integers (height, width).
        scale: Pair of floats in (0, 1], least and largest share of the
            image's area. Defaults to `(0.25, 1.0)`.
        aspect_ratio: Pair of positive floats, least and largest width /
            height of the window. Defaults to `(3 / 4, 4 / 3)`.
        flip: Boolean, whether to mirror every other pair. Defaults to `True`.

    Example:

    ```python
    transform = keras_clmae.data.SegmentationTransform(224, flip=False)
    dataset = keras_clmae.data.segmentation_folder(
        "images", "masks", 224, batch_size=16, transform=transform
    )
    ```
    """

    def __init__(
        self,
        image_size,
        scale=(0.25, 1.0),
        aspect_ratio=(3 / 4, 4 / 3),
        flip=True,
    ):
        super().__init__(image_size, scale, aspect_ratio, flip)

    def window(self, shape, seed):
        """Draws the part of a pair that is shown.

        Args:
            shape: Integer tensor `(height, width)` of the image.
            seed: Integer tensor of shape `(2,)`.

        Returns:
            An int32 tensor `(top, left, height, width)`, and a scalar boolean
            tensor, whether to mirror it.
        """
        tf = require("tensorflow", "Transforming images")
        window = crops.random_window(shape, seed, self.scale, self.aspect_ratio)
        draw = tf.random.stateless_uniform((), seed + (1, 0))
        return window, self.flip & (draw < 0.5)


class _CentralTransform(EvaluationTransform):
    """Shows the largest window in the middle that has the right shape."""

    def window(self, shape, seed):
        tf = require("tensorflow", "Transforming images")
        shape = tf.cast(shape, "float64")
        size = tf.constant(self.image_size, "float64")
        size = tf.round(size * tf.reduce_min(shape / size))
        window = tf.concat([(shape - size) // 2, size], axis=0)
        return tf.cast(window, "int32"), tf.constant(False)


class _PairTransform:
    """Adapts a transform to pairs, for `make_batches`.

    On the way to the batch a mask is one more channel of its image.

    Args:
        transform: Has `window(shape, seed)` and `image_size`.
        reader: A `MaskReader`.
    """

    takes_standardized = False

    def __init__(self, transform, reader):
        self.transform = transform
        self.reader = reader

    def example(self, contents, decoder, seed):
        tf = require("tensorflow", "Transforming images")
        pixels = decoder.decode(contents[0])
        mask = tf.numpy_function(
            self.reader.read, [contents[1]], "float32", stateful=False
        )
        mask = tf.ensure_shape(mask, (None, None))[..., tf.newaxis]
        same = tf.debugging.assert_equal(
            tf.shape(mask)[:2], tf.shape(pixels)[:2]
        )
        with tf.control_dependencies([] if same is None else [same]):
            window, mirror = self.transform.window(tf.shape(pixels)[:2], seed)
        image_size = self.transform.image_size
        pixels = crops.resize_window(cut(pixels, window), image_size)
        # Bicubic interpolation overshoots at edges.
        pixels = tf.clip_by_value(pixels, 0.0, 255.0)
        mask = resize_mask(cut(mask, window), image_size)
        pair = reverse(tf.concat([pixels, mask], axis=-1), 1, mirror)
        return tf.ensure_shape(pair, (*image_size, decoder.channels + 1))

    def batch(self, images, labels, normalization, num_classes, seed):
        tf = require("tensorflow", "Transforming images")
        masks = tf.cast(images[..., -1], "int32")
        return normalize(images[..., :-1], normalization), masks


def cut(pixels, window):
    """Cuts a window out of an image.

    Args:
        pixels: Tensor of shape `(height, width, channels)`.
        window: Integer tensor `(top, left, height, width)`.

    Returns:
        A tensor of shape `(window height, window width, channels)`.
    """
    top, left, height, width = (window[index] for index in range(4))
    return pixels[top : top + height, left : left + width]


def resize_mask(mask, image_size):
    """Resizes a mask by nearest neighbors: no label is made up.

    The label of a pixel is that of the pixel under its center, as bicubic
    interpolation of the image places centers.

    Args:
        mask: Tensor of shape `(height, width, 1)`.
        image_size: Pair of integers, height and width of the result.

    Returns:
        A tensor of shape `(*image_size, 1)`, of the same type.
    """
    tf = require("tensorflow", "Transforming images")
    return tf.image.resize(mask, image_size, method="nearest")


def list_pairs(images_dir, masks_dir, mask_suffix=""):
    """Lists the images of a folder that have a mask in another one.

    Args:
        images_dir: String or path object.
        masks_dir: String or path object.
        mask_suffix: String. Defaults to `""`.

    Returns:
        Two `PictureList`s, images and their masks, in the same order.

    Raises:
        FileNotFoundError: If there is no such folder.
        ValueError: If no image has a mask, or two files have one stem.
    """
    images = _list_by_stem("images_dir", images_dir, "")
    masks = _list_by_stem("masks_dir", masks_dir, mask_suffix)
    stems = sorted(images.keys() & masks.keys())
    if not stems:
        raise ValueError(
            "`masks_dir` must hold a mask for each image, of the same path "
            f"but for the extension and `mask_suffix`, {mask_suffix!r}. "
            f"Received: {os.fspath(masks_dir)!r} with {next(iter(masks))!r}, "
            f"{os.fspath(images_dir)!r} with {next(iter(images))!r}"
        )
    for left, kind in (
        (images.keys() - masks.keys(), "image(s) without a mask"),
        (masks.keys() - images.keys(), "mask(s) without an image"),
    ):
        if left:
            warnings.warn(
                f"Skipped {len(left)} {kind}, for example {min(left)!r}",
                stacklevel=3,
            )
    return (
        PictureList(os.fspath(images_dir), [images[stem] for stem in stems]),
        PictureList(os.fspath(masks_dir), [masks[stem] for stem in stems]),
    )


def _list_by_stem(argument, folder, suffix):
    """Names of the files of a folder, by their paths without extension."""
    try:
        names = list_pictures(folder).names
    except (OSError, ValueError) as error:
        message = str(error).replace("`path`", f"`{argument}`")
        raise type(error)(message) from None
    by_stem = {}
    for name in names:
        stem = os.path.splitext(name)[0]
        if not stem.endswith(suffix):
            continue
        stem = stem.removesuffix(suffix)
        if stem in by_stem:
            raise ValueError(
                f"`{argument}` must hold one file per stem. Received: "
                f"{by_stem[stem]!r} and {name!r} in {os.fspath(folder)!r}"
            )
        by_stem[stem] = name
    if not by_stem:
        raise ValueError(
            f"`mask_suffix` must end the names of files in `{argument}`. "
            f"Received: mask_suffix={suffix!r}, with {names[0]!r}"
        )
    return by_stem


def _split(images, validation_split, seed):
    """Which images are in which part, decided by their stems."""
    stems = [os.path.splitext(name)[0] for name in images.names]
    _, validation = split_pictures(
        PictureList(images.root, stems), validation_split, seed
    )
    chosen = set(validation.names)
    is_validation = np.array([stem in chosen for stem in stems])
    return {"training": ~is_validation, "validation": is_validation}


def _get_transform(transform, image_size):
    if transform == "fine_tune":
        return SegmentationTransform(image_size)
    if transform == "evaluation":
        return _CentralTransform(image_size, crop_fraction=1.0)
    if isinstance(transform, SegmentationTransform):
        wanted = EvaluationTransform(image_size).image_size
        if transform.image_size == wanted:
            return transform
    raise ValueError(
        '`transform` must be "fine_tune", "evaluation" or a '
        f"`SegmentationTransform` of image_size={image_size}. Received: "
        f"transform={transform!r}"
    )


def _trouble(image_path, mask_path, decoder, reader):
    """Finds out which file of a pair is damaged.

    Args:
        image_path: String.
        mask_path: String.
        decoder: A `PictureDecoder`.
        reader: A `MaskReader`.

    Returns:
        A pair of strings, the name of the file and the reason, which is `None`
        where both can be read.

    Raises:
        ValueError: If the two do not belong together, or the mask holds labels
            of no class.
    """
    tf = require("tensorflow", "Reading image files")
    reason = diagnose(image_path, decoder)
    if reason is not None:
        return display_name(image_path), reason
    name = display_name(mask_path)
    mask, reason = reader.open(mask_path)
    if reason is not None:
        return name, reason
    size = decoder.decode(tf.io.read_file(os.fsencode(image_path))).shape[:2]
    if tuple(size) != mask.shape:
        raise ValueError(
            "`masks_dir` must hold masks of the sizes of their images. "
            f"Received: {name!r} of {mask.shape[0]} by {mask.shape[1]} "
            f"pixels, {display_name(image_path)!r} of {size[0]} by {size[1]}"
        )
    return name, None


class _PairSource:
    """Pairs of files as records for `make_batches`.

    Args:
        images: A `PictureList`.
        masks: A `PictureList`, or `None` for the images alone.
        decoder: A `PictureDecoder`.
        reader: A `MaskReader`.
        sampler: An `EpochSampler`.
    """

    def __init__(self, images, masks, decoder, reader, sampler):
        self._tf = require("tensorflow", "`segmentation_folder`")
        lists = [images] if masks is None else [images, masks]
        self.paths = list(zip(*(each.paths for each in lists), strict=True))
        self.decoder = decoder
        self.reader = reader
        self.sampler = sampler
        self._path_tensors = [
            self._tf.constant([os.fsencode(path) for path in each.paths])
            for each in lists
        ]

    def stream(self, epoch):
        order = self._tf.numpy_function(self.sampler.order, [epoch], "int64")
        return self._tf.data.Dataset.from_tensor_slices(
            self._tf.ensure_shape(order, (None,))
        )

    def load(self, record):
        contents = [
            self._tf.io.read_file(paths[record]) for paths in self._path_tensors
        ]
        if len(contents) == 1:
            return contents[0], 0
        # The mask is no label to `make_batches`, which takes numbers there.
        return self._tf.stack(contents), 0

    def describe(self, epoch, position):
        order = self.sampler.order(epoch)
        paths = self.paths[order[position % len(order)]]
        return _trouble(*paths, self.decoder, self.reader)
