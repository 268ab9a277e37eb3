"""Turn records into batches: one `tf.data` pipeline for every source."""

import numpy as np

from keras_clmae.data.damage import DamageReport
from keras_clmae.data.examples import spaced
from keras_clmae.data.fine_tuning import FineTuneTransform
from keras_clmae.data.normalization import PixelNormalization
from keras_clmae.data.normalization import imagenet_normalization
from keras_clmae.data.transforms import EvaluationTransform
from keras_clmae.data.transforms import normalize
from keras_clmae.optional_imports import require


def make_batches(
    source,
    sampler,
    transform,
    decoder,
    normalization,
    labels=False,
    one_hot=False,
    num_classes=None,
    on_error="skip",
):
    """Builds the pipeline from the records of a source.

    An image that cannot be decoded drops out of the stream. Every image
    carries its place in the order of the epoch, so that a gap tells which
    one is missing, at no cost to the others.

    In a training order (`sampler.shuffle`) a second pass over the epoch's
    order makes up for images that dropped out, so that every epoch has the
    promised number of steps. A fixed order repeats nothing; it stops with an
    error should the images that dropped out leave fewer batches.

    Args:
        source: Has `stream(epoch)`, a `tf.data.Dataset` of the records of an
            epoch; `load(record)`, the bytes of an image file and its label;
            and `describe(epoch, position)`, see `DamageReport`.
        sampler: An `EpochSampler`.
        transform: A transform.
        decoder: An `ImageDecoder`.
        normalization: A `PixelNormalization`.
        labels: bool. Whether batches are `(images, labels)`.
        one_hot: bool. Whether labels are one-hot floats.
        num_classes: int or `None`.
        on_error: `"skip"` or `"raise"`.

    Returns:
        A `tf.data.Dataset` of batches, with the attributes `num_examples`,
        `batch_size`, `steps_per_epoch`, `num_classes` (`None` without
        labels), `normalization`, `transform`, `skipped` (dictionary of the
        names and troubles of the images skipped so far), `set_epoch(epoch)`
        and `examples(count)`, see `example_images`.
    """
    tf = require("tensorflow", "A `tf.data` pipeline")
    refills = sampler.shuffle and on_error == "skip"
    report = DamageReport(source.describe, on_error)

    @tf.autograph.experimental.do_not_convert
    def epoch_records(_):
        epoch = tf.numpy_function(
            lambda: np.int64(sampler.next_epoch()), [], "int64"
        )
        epoch.set_shape(())
        records = source.stream(epoch)
        if refills:
            records = records.concatenate(source.stream(epoch))
        return records.enumerate().map(
            lambda position, record: (epoch, position, record)
        )

    @tf.autograph.experimental.do_not_convert
    def load(epoch, position, record):
        contents, label = source.load(record)
        seed = tf.stack([sampler.seed * 2**32 + epoch, position])
        pixels = transform.example(contents, decoder, seed)
        if transform.takes_standardized:
            pixels = normalize(pixels, normalization)
        return (epoch, position), pixels, label

    examples = (
        tf.data.Dataset.range(1)
        .flat_map(epoch_records)
        .map(load, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        .ignore_errors()
    )
    if sampler.shuffle or sampler.drop_remainder:
        examples = examples.take(sampler.examples_per_epoch)
    batches = examples.batch(
        sampler.batch_size, drop_remainder=sampler.drop_remainder
    )
    batches = _report_gaps(batches, sampler, report)

    @tf.autograph.experimental.do_not_convert
    def finish(place, images, targets):
        seed = tf.stack([sampler.seed * 2**32 + place[0][0], place[1][0]])
        if one_hot or isinstance(transform, FineTuneTransform):
            targets = _checked_labels(targets, labels and num_classes)
        images, targets = transform.batch(
            images,
            targets if labels else None,
            normalization,
            num_classes,
            seed,
        )
        if not labels:
            return images
        if one_hot and targets.dtype.is_integer:
            targets = tf.one_hot(targets, num_classes)
        return images, targets

    dataset = batches.map(
        finish, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
    )
    dataset = dataset.apply(
        tf.data.experimental.assert_cardinality(sampler.steps_per_epoch)
    )
    # Several TensorFlow workers each keep a part of every batch: files instead
    # would give them other images in a step, and unlike numbers of steps.
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = (
        tf.data.experimental.AutoShardPolicy.DATA
    )
    dataset = dataset.with_options(options).prefetch(tf.data.AUTOTUNE)
    dataset.num_examples = sampler.num_examples
    dataset.batch_size = sampler.batch_size
    dataset.steps_per_epoch = sampler.steps_per_epoch
    dataset.num_classes = num_classes if labels else None
    dataset.normalization = normalization
    dataset.transform = transform
    dataset.skipped = report.skipped
    dataset.set_epoch = sampler.set_epoch
    dataset.examples = _examples_of(
        source, sampler, transform, decoder, normalization
    )
    return dataset


def _checked_labels(labels, num_classes):
    """Stops at a label of no class, which as a one-hot label is all zeros."""
    if not num_classes or not labels.dtype.is_integer:
        return labels
    tf = require("tensorflow", "A `tf.data` pipeline")
    in_range = tf.reduce_all((labels >= 0) & (labels < num_classes))
    message = (
        f"`labels` must be in [0, {num_classes}) where they become one-hot; "
        "leave out images without a class, whose label often is -1. Received:"
    )
    check = tf.debugging.Assert(in_range, [message, labels], summarize=8)
    with tf.control_dependencies([check]):
        return tf.identity(labels)


def _examples_of(source, sampler, transform, decoder, normalization):
    """Makes the function that reads a few images from all over an epoch.

    The records between them are passed over, and not decoded.
    """
    tf = require("tensorflow", "A `tf.data` pipeline")

    @tf.autograph.experimental.do_not_convert
    def show(position, record):
        contents, _ = source.load(record)
        seed = tf.stack([tf.constant(sampler.seed * 2**32, "int64"), position])
        pixels = transform.example(contents, decoder, seed)
        return normalize(pixels, normalization)

    def examples(count):
        places = spaced(sampler.examples_per_epoch, count)
        return (
            source.stream(tf.constant(0, "int64"))
            .enumerate()
            .filter(lambda position, _: tf.reduce_any(position == places))
            .map(show)
            .ignore_errors()
            .batch(len(places))
            .as_numpy_iterator()
        )

    return examples


def _report_gaps(batches, sampler, report):
    """Watches the places in the order, and reports those that are missing."""
    tf = require("tensorflow", "A `tf.data` pipeline")
    # After the last batch comes an empty one, which shows a gap at the end.
    end = tf.data.Dataset.from_tensors(
        tf.nest.map_structure(
            lambda spec: tf.fill(
                [
                    sampler.batch_size if side is None else side
                    for side in spec.shape
                ],
                tf.constant(-1, spec.dtype),
            ),
            batches.element_spec,
        )
    )

    def inspect(epoch, previous, step, positions):
        if positions[0] >= 0:
            places = set(range(previous + 1, positions[-1] + 1))
            missing = places.difference(positions.tolist())
        elif sampler.shuffle and step:
            # What lies behind the last example of the epoch is not missed.
            missing = ()
        else:
            missing = range(previous + 1, sampler.examples_per_epoch)
        for position in sorted(missing):
            report.missing(int(epoch), position)
        missing_steps = sampler.steps_per_epoch - step
        is_end = positions[0] < 0
        if is_end or (sampler.shuffle and missing_steps == 1):
            report.end_epoch(sampler.num_examples)
        if is_end and missing_steps:
            raise ValueError(
                "Too many images cannot be read: the others make "
                f"{step} of {sampler.steps_per_epoch} batches. Remove those "
                "that the warnings named; keras-clmae check-data lists all of "
                "a folder. A training order does without them."
            )
        return np.int64(0)

    @tf.autograph.experimental.do_not_convert
    def watch(state, batch):
        epoch, previous, step = state
        (epochs, positions), _, _ = batch
        is_end = positions[0] < 0
        epoch = tf.where(is_end, epoch, epochs[0])
        is_complete = tf.equal(
            positions[-1] - previous, tf.size(positions, "int64")
        )
        is_last = tf.equal(step + 1, sampler.steps_per_epoch)
        tf.cond(
            is_end | is_last | ~is_complete,
            lambda: tf.numpy_function(
                inspect, [epoch, previous, step, positions], "int64"
            ),
            lambda: tf.constant(0, "int64"),
        )
        return (epoch, positions[-1], step + 1), batch

    start = tuple(tf.constant(value, "int64") for value in (0, -1, 0))
    return (
        batches.concatenate(end)
        .scan(start, watch)
        .take_while(lambda place, images, labels: place[1][0] >= 0)
    )


def get_normalization(statistics, channels, measure):
    """Makes the normalization that the argument `statistics` asks for.

    Args:
        statistics: `"imagenet"`, `"from_data"`, a pair (mean, std) of
            sequences with one number per channel, or a `PixelNormalization`.
        channels: int. Channels of the images.
        measure: callable without arguments that measures the data.

    Returns:
        A `PixelNormalization`.

    Raises:
        ValueError: If `statistics` is none of these.
    """
    if isinstance(statistics, str):
        if statistics == "imagenet":
            return imagenet_normalization(channels)
        if statistics == "from_data":
            return measure()
    elif isinstance(statistics, PixelNormalization):
        if statistics.channels == channels:
            return statistics
    elif len(statistics) == 2:
        normalization = PixelNormalization(*statistics)
        if normalization.channels == channels:
            return normalization
    raise ValueError(
        '`statistics` must be "imagenet", "from_data", or a pair '
        f"(mean, std) with one number for each of the {channels} channel(s). "
        f"Received: statistics={statistics!r}"
    )


def measure_statistics(source, decoder, image_size):
    """Measures mean and standard deviation of images in one pass.

    Over the pixels of the images as the evaluation transform shows them.
    Images that cannot be read are left out.

    Args:
        source: See `make_batches`; of all images, in one process.
        decoder: An `ImageDecoder`.
        image_size: pair of int (height, width).

    Returns:
        A `PixelNormalization`.

    Raises:
        ValueError: If no image can be read, or a channel does not vary.
    """
    tf = require("tensorflow", "Measuring the statistics of images")
    transform = EvaluationTransform(image_size, crop_fraction=1.0)

    @tf.autograph.experimental.do_not_convert
    def sums(_, record):
        contents, _ = source.load(record)
        pixels = transform.example(contents, decoder, None) / 255
        # Within one image float32 is enough; between them it is not.
        moments = tf.stack(
            [
                tf.reduce_mean(pixels, axis=(0, 1)),
                tf.reduce_mean(tf.square(pixels), axis=(0, 1)),
            ]
        )
        return tf.cast(moments, "float64")

    moments = (
        source.stream(tf.constant(0, "int64"))
        .enumerate()
        .map(sums, num_parallel_calls=tf.data.AUTOTUNE)
        .ignore_errors()
    )
    count, total = moments.reduce(
        (
            tf.constant(0, "int64"),
            tf.zeros((2, decoder.channels), "float64"),
        ),
        lambda state, value: (state[0] + 1, state[1] + value),
    )
    if not count:
        raise ValueError(
            '`statistics="from_data"` needs images that can be '
            "read. Received: not a single one"
        )
    mean, square = total.numpy() / float(count)
    variance = np.maximum(square - mean**2, 0)
    if not variance.all():
        raise ValueError(
            '`statistics="from_data"` needs images that vary in '
            f"every channel. Received: standard deviations {np.sqrt(variance)}"
        )
    return PixelNormalization(mean, np.sqrt(variance))
