"""Read named data sets and prepared folders of TensorFlow Datasets."""

import hashlib
import os

from keras_clmae.data.damage import diagnose_contents
from keras_clmae.data.decoding import ImageDecoder
from keras_clmae.data.fine_tuning import get_transform
from keras_clmae.data.pipeline import get_normalization
from keras_clmae.data.pipeline import make_batches
from keras_clmae.data.pipeline import measure_statistics
from keras_clmae.data.sharding import EpochSampler
from keras_clmae.optional_imports import require

# Parts of a split that are read side by side, in an order of their own in
# every epoch.
_MAX_STREAMS = 16
# Examples that are read in a row from one part.
_BLOCK_LENGTH = 16


def tfds_dataset(
    name,
    split,
    image_size,
    batch_size,
    transform="pretrain",
    labels=False,
    channels=None,
    statistics="imagenet",
    data_dir=None,
    download=True,
    num_classes=None,
    one_hot=False,
    shuffle=None,
    shuffle_buffer=10_000,
    seed=0,
    drop_remainder=None,
    cache=None,
    on_error="skip",
    process_index=None,
    process_count=None,
):
    """Makes batches of the images of a TensorFlow Datasets data set.

    Images are taken as they are stored and decoded here, so that the random
    crop decodes the window of a JPEG only. In a training order, the parts of
    the split are read in a new order in every epoch and go through a shuffle
    buffer; both depend on `seed` and the number of the epoch only.

    Args:
        name: str. A name that `tfds.builder` knows, such as
            `"imagenet2012"` or `"imagenette/320px-v2"`; or a path, of a
            prepared data set or of a folder as `tfds.ImageFolder` reads them
            (`path/split/class/image`); or a `tfds.core.DatasetBuilder`.
        split: str, such as `"train"`, `"train[:10%]"` or `"unlabelled"`.
        image_size: int, or pair of int (height, width).
        batch_size: int. Examples in a batch of this process.
        transform: See `image_folder`. Defaults to `"pretrain"`.
        labels: bool. Whether batches are `(images, labels)`. Defaults to
            `False`.
        channels: 1, 3 or 4 to convert the images to this number, or `None`
            for the number that the data set declares. Defaults to `None`.
        statistics: See `image_folder`. Defaults to `"imagenet"`.
        data_dir: str. Where TensorFlow Datasets keeps its data sets, or
            `None` for its own default. Defaults to `None`.
        download: bool. Whether to download and prepare a data set that is
            not there yet. Defaults to `True`.
        num_classes: int. The largest number of classes that is allowed,
            and the width of one-hot labels, or `None` for the number that the
            data set declares. Defaults to `None`.
        one_hot: bool. Whether labels are one-hot floats, as they always
            are with `"fine_tune"`. Defaults to `False`.
        shuffle: bool, or `None` for `True` with a training transform.
            Defaults to `None`.
        shuffle_buffer: int. Examples (as stored) in the shuffle
            buffer. Defaults to `10_000`.
        seed: int. 0 or more. Defaults to `0`.
        drop_remainder: bool, or `None` for the value of `shuffle`.
            Defaults to `None`.
        cache: `"memory"` to keep the stored images in memory, a path to
            keep copies in a folder on a faster disk, or `None`. Defaults to
            `None`.
        on_error: `"skip"` or `"raise"`, see `image_folder`. Defaults to
            `"skip"`.
        process_index: int or `None`. See `process_shard`.
        process_count: int or `None`. See `process_shard`.

    Returns:
        A `tf.data.Dataset`, as `image_folder` returns it, without
        `file_paths` and `labels`.

    Raises:
        ValueError: If the data set or an argument cannot be used; each message
            names the argument.

    Example:

    ```python
    dataset = keras_clmae.data.tfds_dataset(
        "imagenette", "train", image_size=224, batch_size=64
    )
    model.fit(dataset, epochs=100, shuffle=False)
    ```
    """
    require("tensorflow", "`tfds_dataset`")
    if cache == "device":
        raise ValueError(
            '`cache` must be "memory", a folder or None: only the images of '
            'folders can stay on the device. Received: cache="device"'
        )
    transform = get_transform(transform, image_size, labels)
    builder = _get_builder(name, data_dir, download)
    image_key, label_key = _find_features(builder, labels)
    classes = builder.info.features[label_key] if label_key else None
    if labels and num_classes is not None and classes.num_classes > num_classes:
        raise ValueError(
            "`num_classes` must be at least the number of classes of the data "
            f"set. Received: num_classes={num_classes}, and {builder.name!r} "
            f"with {classes.num_classes} classes"
        )
    if channels is None:
        channels = builder.info.features[image_key].shape[-1] or 3
    decoder = ImageDecoder(channels, convert=channels in (1, 3, 4))
    if shuffle is None:
        shuffle = transform.is_training
    if drop_remainder is None:
        drop_remainder = shuffle

    def read(split):
        return _read_split(builder, split, image_key, label_key)

    num_examples = _count_examples(builder, split, read)
    sampler = EpochSampler(
        num_examples,
        batch_size,
        shuffle=shuffle,
        seed=seed,
        drop_remainder=drop_remainder,
        process_index=process_index,
        process_count=process_count,
    )

    def measure():
        everything = EpochSampler(
            num_examples, 1, shuffle=False, process_index=0, process_count=1
        )
        source = _TfdsSource(builder, split, read, everything, decoder)
        return measure_statistics(source, decoder, transform.image_size)

    normalization = get_normalization(statistics, channels, measure)
    source = _TfdsSource(
        builder, split, read, sampler, decoder, shuffle_buffer, cache
    )
    dataset = make_batches(
        source,
        sampler,
        transform,
        decoder,
        normalization,
        labels=labels,
        one_hot=one_hot,
        num_classes=num_classes or (classes and classes.num_classes),
        on_error=on_error,
    )
    dataset.class_names = classes and classes.names
    return dataset


class _TfdsSource:
    """Examples of a split as records for `make_batches`.

    Args:
        builder: A `tfds.core.DatasetBuilder`.
        split: str.
        read: callable, split to `tf.data.Dataset` of bytes and labels.
        sampler: An `EpochSampler`.
        decoder: An `ImageDecoder`.
        shuffle_buffer: int. Ignored without shuffling.
        cache: `"memory"`, a folder, or `None`.
    """

    def __init__(
        self,
        builder,
        split,
        read,
        sampler,
        decoder,
        shuffle_buffer=1,
        cache=None,
    ):
        self._tf = require("tensorflow", "`tfds_dataset`")
        self.name = f"{builder.name}, {split}"
        place = self._place = builder.data_dir
        self._identity = f"{builder.info.full_name}, {split}, {place}"
        self.sampler = sampler
        self.decoder = decoder
        self.shuffle_buffer = shuffle_buffer
        streams = self._streams(builder, split, read, cache)
        self._spec = streams[0].element_spec
        self._variants = self._tf.stack(
            [
                self._tf.data.experimental.to_variant(stream)
                for stream in streams
            ]
        )

    def _streams(self, builder, split, read, cache):
        """Splits this process's share into streams to read in parallel."""
        index, count = self.sampler.process_index, self.sampler.process_count
        if not _has_subsplits(builder):
            share = read(split).shard(count, index)
            return [self._cached(share, cache)]
        tfds = require("tensorflow_datasets", "`tfds_dataset`")
        share = tfds.even_splits(split, count)[index] if count > 1 else split
        if cache is not None or not self.sampler.shuffle:
            # A cache keeps one stream, and a fixed order needs one.
            return [self._cached(read(share), cache)]
        shards = builder.info.splits[split].num_shards
        examples = self.sampler.num_examples // count
        streams = max(1, min(_MAX_STREAMS, shards, examples))
        return [read(part) for part in tfds.even_splits(share, streams)]

    def _cached(self, share, cache):
        if cache is None:
            return share
        if cache == "memory":
            return share.cache()
        folder = os.fspath(cache)
        os.makedirs(folder, exist_ok=True)
        # A file of its own for every split, and every process's share of it.
        index, count = self.sampler.process_index, self.sampler.process_count
        stamp = _stamp_of_files(self._place)
        content = f"{self._identity}, {stamp}, {index} of {count}"
        name = hashlib.blake2b(content.encode(), digest_size=16).hexdigest()
        return share.cache(os.path.join(folder, name))

    def stream(self, epoch):
        tf = self._tf

        def part(number):
            return tf.data.experimental.from_variant(
                self._variants[number], self._spec
            )

        if not self.sampler.shuffle:
            return part(0)
        count = int(self._variants.shape[0])
        seed = tf.stack([tf.constant(self.sampler.seed, "int64"), epoch])
        order = tf.random.experimental.stateless_shuffle(tf.range(count), seed)
        examples = tf.data.Dataset.from_tensor_slices(order).interleave(
            part,
            cycle_length=count,
            block_length=_BLOCK_LENGTH,
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        )
        # `Dataset.shuffle` itself takes no tensor for a seed, and mixes the
        # global seed in.
        shuffled = tf.raw_ops.ShuffleDataset(
            input_dataset=tf.data.experimental.to_variant(examples),
            buffer_size=self.shuffle_buffer,
            seed=self.sampler.seed + 1,
            seed2=epoch + 1,
            output_types=[spec.dtype for spec in self._spec],
            output_shapes=[spec.shape for spec in self._spec],
            reshuffle_each_iteration=False,
        )
        return tf.data.experimental.from_variant(shuffled, self._spec)

    def load(self, record):
        return record

    def describe(self, epoch, position):
        tf = self._tf
        position %= self.sampler.examples_per_epoch
        name = f"number {position} of epoch {epoch} of {self.name}"
        examples = self.stream(tf.constant(epoch, "int64")).skip(position)
        for contents, _ in examples.take(1):
            return name, diagnose_contents(contents.numpy(), self.decoder)
        return name, "it could not be read"


def _get_builder(name, data_dir, download):
    tfds = require("tensorflow_datasets", "`tfds_dataset`")
    if isinstance(name, tfds.core.DatasetBuilder):
        builder = name
    elif os.path.isdir(name):
        if os.path.exists(os.path.join(name, "dataset_info.json")):
            return tfds.builder_from_directory(name)
        return tfds.ImageFolder(os.fspath(name))
    else:
        builder = tfds.builder(name, data_dir=data_dir)
    if isinstance(builder, tfds.ImageFolder):
        return builder
    if download:
        builder.download_and_prepare()
    return builder


def _stamp_of_files(folder):
    """Changes when a file below a folder does: by names, sizes and times."""
    stamp = hashlib.blake2b(digest_size=16)
    for place, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = os.path.join(place, name)
            status = os.stat(path)
            entry = (path, status.st_size, status.st_mtime_ns)
            stamp.update(repr(entry).encode())
    return stamp.hexdigest()


def _has_subsplits(builder):
    tfds = require("tensorflow_datasets", "`tfds_dataset`")
    return bool(builder.info.splits) and not isinstance(
        builder, tfds.ImageFolder
    )


def _find_features(builder, labels):
    """Finds the names of the image and of the label in the data set."""
    tfds = require("tensorflow_datasets", "`tfds_dataset`")
    features = builder.info.features

    def of_type(kind, preferred):
        keys = [key for key in features if isinstance(features[key], kind)]
        return preferred if preferred in keys else keys[0] if keys else None

    supervised = builder.info.supervised_keys or ("image", "label")
    image_key = of_type(tfds.features.Image, supervised[0])
    label_key = of_type(tfds.features.ClassLabel, supervised[1])
    if image_key is None:
        raise ValueError(
            "`name` must be a data set of images. "
            f"Received: {builder.name!r}, with the features {list(features)}"
        )
    if labels and label_key is None:
        raise ValueError(
            "`labels` must be False for a data set without classes. "
            f"Received: {builder.name!r}, with the features {list(features)}"
        )
    return image_key, label_key


def _read_split(builder, split, image_key, label_key):
    tf = require("tensorflow", "`tfds_dataset`")
    tfds = require("tensorflow_datasets", "`tfds_dataset`")
    examples = builder.as_dataset(
        split=split,
        shuffle_files=False,
        decoders={image_key: tfds.decode.SkipDecoding()},
        read_config=tfds.ReadConfig(try_autocache=False),
    )

    def select(example):
        label = example[label_key] if label_key else 0
        return example[image_key], tf.cast(label, "int32")

    return examples.map(select)


def _count_examples(builder, split, read):
    if builder.info.splits:
        known = builder.info.splits
        try:
            return known[split].num_examples
        except (KeyError, ValueError) as error:
            raise ValueError(
                f"`split` must be one of {sorted(known)}, or a part "
                f"such as 'train[:10%]'. Received: split={split!r}"
            ) from error
    return int(read(split).reduce(0, lambda count, _: count + 1))
