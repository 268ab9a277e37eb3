"""Define the attributes that programs read of any data set."""

import typing


@typing.runtime_checkable
class ImageDataset(typing.Protocol):
    """A data set of this package: batches, and these attributes.

    Iterating gives batches of float32 images of shape `(batch, height, width,
    channels)`, or pairs of these and their labels; `DeviceDataset` gives images
    alone as tuples of one tensor. The order depends on seed
    and epoch only, and each process gets its own part: `EpochSampler` does
    both. Labeled sets may have `class_names` (list of str) and `labels` too.
    Sets in fixed order whose images have names of their own, such as the paths
    of files, list them in `names`, one for each image that comes, in order.

    Attributes:
        num_examples: int. Examples of all processes together.
        batch_size: int. Examples per batch of this process.
        steps_per_epoch: int. Batches that this process gives in an epoch.
        normalization: `PixelNormalization` of the images.

    Example:

    >>> dataset = keras_clmae.data.digits()
    >>> isinstance(dataset, keras_clmae.data.ImageDataset)
    True
    """

    num_examples: int
    batch_size: int
    steps_per_epoch: int
    normalization: typing.Any

    def set_epoch(self, epoch):
        """Chooses the epoch that is read next.

        Args:
            epoch: int. Number of the epoch, 0 first.
        """

    def __iter__(self):
        """Gives the batches of one epoch."""
