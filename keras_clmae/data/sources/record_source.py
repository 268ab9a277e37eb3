"""Give records to the pipeline: their bytes, channels and damages."""

import warnings

import numpy as np

from keras_clmae.data.damage import diagnose_contents
from keras_clmae.data.damage import find_readable
from keras_clmae.data.decoding import ImageDecoder
from keras_clmae.data.sources.image_bytes import image_bytes
from keras_clmae.optional_imports import require

# Images that are looked at to find their number of channels.
_CHANNEL_SAMPLES = 256


class RecordSource:
    """Records as `make_batches` takes them.

    Args:
        part: A `RecordList`.
        decoder: An `ImageDecoder`.
        sampler: An `EpochSampler`.
        label_limit: int. The number of classes: a record with a label
            that is not below it, or without one, is damaged. `None` where
            labels are not wanted.
        kept: Dictionary in which records are kept once they are read, or
            `None`.
    """

    def __init__(self, part, decoder, sampler, label_limit, kept):
        self._tf = require("tensorflow", "`record_dataset`")
        self.part = part
        self.decoder = decoder
        self.sampler = sampler
        self.label_limit = label_limit
        self.kept = kept

    def _order(self, epoch):
        return self.part.numbers[self.sampler.order(epoch)]

    def stream(self, epoch):
        order = self._tf.numpy_function(self._order, [epoch], "int64")
        return self._tf.data.Dataset.from_tensor_slices(
            self._tf.ensure_shape(order, (None,))
        )

    def load(self, record):
        contents, label = self._tf.numpy_function(
            self.read, [record], ["string", "int32"]
        )
        return (
            self._tf.ensure_shape(contents, ()),
            self._tf.ensure_shape(label, ()),
        )

    def read(self, number):
        number = int(number)
        contents, label = (self.kept or {}).get(number) or self._fetch(number)
        if self.label_limit is not None and label < 0:
            raise ValueError("it has no label")
        if self.label_limit is not None and label >= self.label_limit:
            raise ValueError(
                f"its label is {label}, not below {self.label_limit}, the "
                "number of classes"
            )
        return contents, np.int32(label)

    def _fetch(self, number):
        image, label = self.part.records.read(number)
        record = image_bytes(image), label
        if self.kept is not None:
            self.kept[number] = record
        return record

    def diagnose(self, number):
        """Finds the reason why a record cannot be used, or `None`."""
        try:
            contents, _ = self.read(number)
        # Whatever a source of the user's raises is the reason.
        except Exception as error:
            return str(error) or type(error).__name__
        return diagnose_contents(contents, self.decoder)

    def describe(self, epoch, position):
        order = self._order(epoch)
        number = order[position % len(order)]
        return self.part.records.full_name(number), self.diagnose(number)


def without_damaged(part, decoder, label_limit, kept):
    """Reads all records once, and leaves out those that cannot be read.

    Args:
        part: A `RecordList`.
        decoder: An `ImageDecoder`.
        label_limit: See `RecordSource`.
        kept: See `RecordSource`.

    Returns:
        A pair of a `RecordList` and a dictionary from the names of the
        records that were left out to what is wrong with them.

    Raises:
        ValueError: If not a single record can be read.
    """
    tf = require("tensorflow", "`record_dataset`")
    source = RecordSource(part, decoder, None, label_limit, kept)

    @tf.autograph.experimental.do_not_convert
    def check(position, number):
        contents, _ = source.load(number)
        # The size goes along, or else decoding would be optimized away.
        return position, tf.size(decoder.decode(contents))

    def describe(epoch, position):
        number = part.numbers[position]
        return part.records.full_name(number), source.diagnose(number)

    checked = (
        tf.data.Dataset.from_tensor_slices(part.numbers)
        .enumerate()
        .map(check, num_parallel_calls=tf.data.AUTOTUNE)
    )
    is_readable, skipped = find_readable(
        checked, len(part), part.records.title, describe
    )
    if not is_readable.any():
        raise ValueError(
            "`records` must hold images that can be read. "
            f"Received: {part.records.title!r}, with not a single one"
        )
    return part.select(is_readable), skipped


def fitting_decoder(records):
    """Makes the decoder for the numbers of channels that images have.

    Args:
        records: A `Records`.

    Returns:
        An `ImageDecoder`: of the one number that there is, or of three where
        gray and color images come together, with a warning.

    Raises:
        ValueError: If there are several numbers and one is above four, or no
            image can be read.
    """
    found = _find_channels(records)
    if len(found) == 1:
        (count,) = found
        # The images that are not looked at may be gray.
        return ImageDecoder(count, convert=count == 3)
    examples = " and ".join(
        f"{count} in {records.full_name(number)!r}"
        for count, number in found.items()
    )
    if not set(found) <= {1, 2, 3, 4}:
        raise ValueError(
            "`records` must have one number of channels, or be gray and "
            f"color images. Received: numbers of channels {examples}"
        )
    warnings.warn(
        f"Converted all images of {records.title!r} to RGB: their numbers of "
        f"channels differ, {examples}. Pass `channels` for another number.",
        stacklevel=3,
    )
    return ImageDecoder(3, convert=True)


def _find_channels(records):
    """Maps each number of channels to a record that has it."""
    tf = require("tensorflow", "`record_dataset`")
    decoder = ImageDecoder(None, convert=False)
    stride = max(1, len(records) // _CHANNEL_SAMPLES)
    found, trouble = {}, None
    for number in range(0, len(records), stride):
        try:
            contents = image_bytes(records.read(number)[0])
            if decoder.is_jpeg(contents):
                # A JPEG of four channels is CMYK, and is decoded to RGB.
                count = min(int(tf.io.extract_jpeg_shape(contents)[2]), 3)
            else:
                count = decoder.decode_other(tf.constant(contents)).shape[-1]
        # As in `diagnose`.
        except Exception as error:
            trouble = trouble or f"{records.full_name(number)!r}: {error}"
            continue
        found.setdefault(count, number)
    if not found:
        raise ValueError(
            "`records` must hold images that can be read. "
            f"Received: {records.title!r}, where none can: {trouble}"
        )
    return found
