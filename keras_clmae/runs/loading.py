"""Load the images that the settings of a run name."""

import dataclasses

from keras_clmae import data
from keras_clmae import distribution
from keras_clmae.runs.folder import RunFolder

# Images in the figures of a run.
NUM_SHOWN_IMAGES = 6
# What the digits do without.
_NOT_FOR_DIGITS = (
    *("channels", "cache", "data_dir"),
    *("crop_scale", "flip", "color_jitter", "augmentation", "evaluation_crop"),
)


def source_arguments(settings):
    """Arguments of `data.load` that depend on the kind of data.

    Args:
        settings: dataclass with `data`, `channels`, `cache`, `data_dir` and
            `data_arguments`.

    Returns:
        dict.

    Raises:
        ValueError: if a setting does not fit the kind of data.
    """
    kind = settings.data.partition(":")[0]
    unfit = {"digits": _NOT_FOR_DIGITS, "tfds": ()}.get(kind, ("data_dir",))
    for field in dataclasses.fields(settings):
        name = field.name
        value = getattr(settings, name)
        if name in unfit and value != field.default:
            raise ValueError(
                f"`{name}` must be left out with `data={settings.data}`. "
                f"Received: {name}={value!r}"
            )
    if kind == "digits":
        return {}
    arguments = {
        "channels": settings.channels,
        "cache": settings.cache,
        **settings.data_arguments,
    }
    if kind == "tfds":
        arguments["data_dir"] = settings.data_dir
    return arguments


def weights_arguments(settings):
    """Arguments of `load_encoder` that say what a file of weights does not.

    Args:
        settings: has `num_heads`, `decoder_num_heads`, `key` and `prefix`.

    Returns:
        dict.
    """
    names = ("num_heads", "decoder_num_heads", "key", "prefix")
    return {name: getattr(settings, name) for name in names}


def data_splits(settings):
    """Arguments of `data.load` for training and for validation, or `None`."""
    if settings.validation is None:
        return {}, None
    if isinstance(settings.validation, str):
        return {}, {"split": settings.validation}
    share = {"validation_split": settings.validation}
    return {**share, "subset": "training"}, {**share, "subset": "validation"}


def pretrain_transform(settings, augmentation=None):
    """Makes the transform of the training images.

    Args:
        settings: `Settings`, not of the digits.
        augmentation: callable, that of `settings`, or `None`.

    Returns:
        A `PretrainTransform`.
    """
    whole = settings.crop_scale == 1
    return data.PretrainTransform(
        settings.image_size,
        scale=(settings.crop_scale, 1.0),
        # The largest square, and not one that is stretched.
        **({"aspect_ratio": (1, 1)} if whole else {}),
        flip=settings.flip,
        color_jitter=settings.color_jitter,
        augmentation=augmentation,
    )


def load_data(settings, augmentation=None):
    """Makes the training and validation batches.

    Args:
        settings: `Settings`.
        augmentation: callable, that of `settings`. Defaults to `None`: the
            images that figures show have none.

    Returns:
        A pair of data sets; the second may be `None`.

    Raises:
        ValueError: if the settings do not fit the images.
    """
    plan = distribution.current_plan()
    batch_size = plan.local_batch_size(settings.batch_size)
    # On several devices every batch splits evenly, those of validation too.
    even = {"drop_remainder": True} if plan.num_batch_shards > 1 else {}
    source = source_arguments(settings)
    if settings.data == "digits":
        # A last batch of another size would be compiled on its own.
        _, (held_out, _) = data.load_digits_arrays()
        return (
            data.digits(batch_size, "train", seed=settings.seed),
            data.digits(batch_size if even else len(held_out), "test", **even),
        )

    def load(transform, statistics, split, **arguments):
        return data.load(
            settings.data,
            image_size=settings.image_size,
            batch_size=batch_size,
            seed=settings.seed,
            transform=transform,
            statistics=statistics,
            **source,
            **split,
            **arguments,
        )

    training, validation = data_splits(settings)
    # A run that goes on does not measure its images again.
    statistics = stored_normalization(settings) or settings.statistics
    transform = pretrain_transform(settings, augmentation)
    train = load(transform, statistics, training)
    if validation is None:
        return train, None
    transform = data.EvaluationTransform(
        settings.image_size, settings.evaluation_crop
    )
    # Standardized as in training.
    return train, load(transform, train.normalization, validation, **even)


def stored_normalization(settings):
    """Reads what an earlier start of the run standardized pixels by."""
    folder = RunFolder(settings.run_dir)
    return folder.read_normalization() if folder.has_run() else None
