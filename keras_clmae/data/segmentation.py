"""Read folders of images and masks as a data set."""

import concurrent.futures
import os

import numpy as np

from keras_clmae.data.damage import diagnose
from keras_clmae.data.damage import display_name
from keras_clmae.data.damage import report_damage
from keras_clmae.data.folder_source import make_decoder
from keras_clmae.data.listing import ImageList
from keras_clmae.data.listing import check_subset
from keras_clmae.data.listing import split_images
from keras_clmae.data.mask_files import MaskReader
from keras_clmae.data.mask_files import find_num_classes
from keras_clmae.data.mask_pairs import list_pairs
from keras_clmae.data.pipeline import get_normalization
from keras_clmae.data.pipeline import make_batches
from keras_clmae.data.pipeline import measure_statistics
from keras_clmae.data.segmentation_transforms import PairTransform
from keras_clmae.data.segmentation_transforms import get_pair_transform
from keras_clmae.data.sharding import EpochSampler
from keras_clmae.optional_imports import require

# Pairs that are looked at before anything starts, for an early error.
_SAMPLES = 8
_THREADS = 8


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
    number per pixel, as gray levels or as indices of a palette (PNG, GIF,
    BMP), in 8 or 16 bits, or as an integer `.npy` array. Both are cropped and
    flipped alike; images are resized by bicubic interpolation, masks by
    nearest neighbors. Images are of the kinds that `image_folder` reads.

    Args:
        images_dir: str or path object. The folder of images.
        masks_dir: str or path object. The folder of masks.
        image_size: int, or pair of int (height, width).
        batch_size: int. Examples in a batch of this process.
        num_classes: int, or `None` for the number of `class_names`, or
            else one more than the highest label in the masks, all of which
            are read once for it. Defaults to `None`.
        class_names: list of str. The classes in the order of their
            numbers, or `None`. Defaults to `None`.
        ignore_label: int. Label of pixels of no class, or `None`. Defaults
            to `255`.
        mask_suffix: str that the names of masks have before their
            extension and images do not, such as `"_mask"`. Defaults to `""`.
        transform: `"fine_tune"` for random crops and flips, `"evaluation"`
            for the largest window in the middle, or a `SegmentationTransform`.
            Defaults to `"fine_tune"`.
        channels: As in `image_folder`. Defaults to `None`.
        statistics: As in `image_folder`. Defaults to `"imagenet"`.
        validation_split: float between 0 and 1. Share of the pairs that are
            for validation, or `None`. It depends on `seed` and the paths below
            the folders, without extensions, only. Defaults to `None`.
        subset: `"training"`, `"validation"`, or `"both"` for a pair of data
            sets, the second one in fixed order with the evaluation transform.
            Defaults to `"training"`.
        shuffle: bool, or `None` for `True` with a training transform.
            Defaults to `None`.
        seed: int. 0 or more. Defaults to `0`.
        drop_remainder: bool. Whether to leave out a last batch that is not
            full, or `None` for the value of `shuffle`. Defaults to `None`.
        on_error: `"skip"` to leave out pairs of which a file is damaged, with
            a warning for each (for a fixed order all pairs are read once
            beforehand), or `"raise"`. A mask of another size than its
            image, or with labels of no class, is an error in any case.
            Defaults to `"skip"`.
        process_index: int or `None`. See `process_shard`.
        process_count: int or `None`. See `process_shard`.

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
    check_subset(subset, validation_split)
    transform = get_pair_transform(transform, image_size)
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
        if num_classes == 1:
            raise ValueError(
                "`masks_dir` must hold masks of two classes or more, numbered "
                "from 0 on, or `num_classes` must be given. Received: "
                f"{masks.root!r}, whose masks hold 0 alone beside "
                f"`ignore_label`, {ignore_label}; masks of 0 and 255 must "
                "become 0 and 1"
            )
    reader = MaskReader(num_classes, ignore_label)
    decoder = make_decoder(images, channels)
    channels = decoder.channels
    stride = max(1, len(images) // _SAMPLES)
    for number in range(0, len(images), stride):
        _trouble(images.paths[number], masks.paths[number], decoder, reader)
    subsets = {"training": np.ones(len(images), bool)}
    if validation_split is not None:
        subsets = _split(images, validation_split, seed)

    def measure():
        chosen = images.select(subsets["training"])
        sampler = EpochSampler(
            len(chosen), 1, shuffle=False, process_index=0, process_count=1
        )
        source = _PairSource(chosen, None, decoder, reader, sampler)
        return measure_statistics(source, decoder, transform.image_size)

    normalization = get_normalization(statistics, channels, measure)

    def build(part, transform, shuffle, drop_remainder):
        if shuffle is None:
            shuffle = transform.is_training
        if drop_remainder is None:
            drop_remainder = shuffle
        chosen = [each.select(subsets[part]) for each in (images, masks)]
        skipped = {}
        if not shuffle and on_error == "skip":
            chosen, skipped = _without_damaged(*chosen, decoder, reader)
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
            PairTransform(transform, reader),
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
        dataset.skipped = skipped or dataset.skipped
        return dataset

    if subset != "both":
        return build(subset, transform, shuffle, drop_remainder)
    evaluation = get_pair_transform("evaluation", transform.image_size)
    return (
        build("training", transform, shuffle, drop_remainder),
        build("validation", evaluation, False, False),
    )


def _split(images, validation_split, seed):
    """Assigns images to training and validation by their stems."""
    stems = [os.path.splitext(name)[0] for name in images.names]
    _, validation = split_images(
        ImageList(images.root, stems), validation_split, seed
    )
    chosen = set(validation.names)
    is_validation = np.array([stem in chosen for stem in stems])
    return {"training": ~is_validation, "validation": is_validation}


def _trouble(image_path, mask_path, decoder, reader):
    """Finds the damaged file of a pair.

    Args:
        image_path: str.
        mask_path: str.
        decoder: An `ImageDecoder`.
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


def _without_damaged(images, masks, decoder, reader):
    """Reads all pairs once, and leaves out those that cannot be read.

    Args:
        images: An `ImageList`.
        masks: An `ImageList`.
        decoder: An `ImageDecoder`.
        reader: A `MaskReader`.

    Returns:
        A list of the two `ImageList`s without the damaged pairs, and a
        dictionary of the names and troubles of what was left out.
    """
    paths = list(zip(images.paths, masks.paths, strict=True))
    with concurrent.futures.ThreadPoolExecutor(_THREADS) as pool:
        found = list(
            pool.map(lambda pair: _trouble(*pair, decoder, reader), paths)
        )
    whole = np.array([reason is None for _, reason in found])
    skipped = report_damage(whole, lambda _, position: found[position])
    if not whole.any():
        raise ValueError(
            "`images_dir` must hold images that can be read, with their "
            f"masks. Received: {images.root!r}, with not a single one"
        )
    return [each.select(whole) for each in (images, masks)], skipped


class _PairSource:
    """Pairs of files as records for `make_batches`.

    Args:
        images: An `ImageList`.
        masks: An `ImageList`, or `None` for the images alone.
        decoder: An `ImageDecoder`.
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
