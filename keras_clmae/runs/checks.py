"""Check settings before anything heavy is imported."""

import dataclasses
import glob
import os
import re
import types
import typing

from keras_clmae.runs.own_code import check_function_name
from keras_clmae.runs.suggestions import did_you_mean

# Arguments of `MaskedAutoencoder.from_sizes` that `model` may give: those that
# a preset has, and others.
SIZES = (
    "patch_size",
    "hidden_dim",
    "num_layers",
    "num_heads",
    "decoder_hidden_dim",
    "decoder_num_layers",
    "decoder_num_heads",
)
MODEL_OPTIONS = (
    *("mask_ratio", "normalize_targets"),
    *("drop_path_rate", "gradient_checkpointing", "dtype"),
)

# As `keras_clmae.data.EvaluationTransform`, which needs Keras.
DEFAULT_EVALUATION_CROP = 224 / 256
_KINDS = ("folder", "tfds", "hf-dataset", "webdataset", "parquet")
# Kind of data -> further arguments of the function that reads it.
_DATA_ARGUMENTS = {
    "folder": ("on_error",),
    "masks": (
        "num_classes",
        "class_names",
        "ignore_label",
        "mask_suffix",
        "on_error",
    ),
    "hf-dataset": ("config", "image_column", "label_column", "on_error"),
    "parquet": ("image_column", "label_column", "shuffle_window", "on_error"),
    "webdataset": (
        "image_key",
        "label_key",
        "index_folder",
        "shuffle_window",
        "on_error",
    ),
}
# Names of presets; whether one exists is known where the models are.
_PRESET = re.compile(r"(vit|mae|clmae)_\w+")


def data_spec(data):
    """Words where images come from as the package reads it.

    Args:
        data: str. `digits`, the path of a folder that exists, or a kind and a
            place, such as `folder:PATH` or `parquet:PATH`.

    Returns:
        str. The same, and `folder:PATH` for a path.
    """
    data = os.fspath(data)
    kind = data.partition(":")[0]
    if data == "digits" or kind in _KINDS or not os.path.isdir(data):
        return data
    return f"folder:{data}"


def check_data_exists(data):
    """Refuses a folder that is not there and a kind of data that is unknown.

    Args:
        data: str. What `data_spec` gave.

    Raises:
        ValueError: if there is no such folder, or the kind is unknown.
    """
    kind, _, place = data.partition(":")
    if data == "digits" or (kind == "tfds" and place):
        return
    if kind == "folder" and os.path.isdir(place):
        return
    if kind == "hf-dataset" and place:
        # A name of the Hub has one slash, or none.
        if not place.startswith((".", "/", "~")) or os.path.isdir(place):
            return
    if kind in ("webdataset", "parquet") and _files_exist(place):
        return
    raise ValueError(
        "`data` must be `digits`, an existing folder (PATH or folder:PATH), "
        "tfds:NAME, hf-dataset:NAME, or webdataset:PATH or parquet:PATH with "
        f"files that exist. Received: data={data!r}"
    )


def _files_exist(place):
    """Tells whether a path or pattern has files; braces are not expanded."""
    if "{" in place or "://" in place:
        return True
    return bool(place and glob.glob(place))


def check_data_arguments(data, arguments, kind=None):
    """Refuses arguments that the function which reads the data lacks.

    Args:
        data: str. What `data_spec` gave.
        arguments: dict.
        kind: str. `"masks"` for images with masks. Defaults to what `data`
            says.

    Raises:
        ValueError: if the kind of data has no such argument.
    """
    known = _DATA_ARGUMENTS.get(kind or data.partition(":")[0], ())
    for name in arguments:
        if name not in known:
            raise ValueError(
                f"`data_arguments` of `{data}` must be among "
                f"{', '.join(known) or 'none'}. Received: {name!r}"
                f"{did_you_mean(name, known)}"
            )


def check_source(source):
    """Refuses a model that is not there.

    Args:
        source: str. As in `keras_clmae.evaluation.load_encoder`.

    Raises:
        ValueError: if `source` is no path, no handle and cannot be a preset.
    """
    if os.path.exists(source) or "://" in source or _PRESET.fullmatch(source):
        return
    raise ValueError(
        "`source` must be the folder of a run, a model file, a preset or a "
        f"name such as hf://organization/name. Received: source={source!r}, "
        "which does not exist"
    )


def check_positive_integer(name, value):
    """Raises `ValueError` naming `name` unless `value` is an integer > 0.

    As in `argument_validation`, which imports Keras.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(
            f"`{name}` must be a positive integer. Received: {name}={value!r}"
        )


def check_literals(settings):
    """Refuses values that are none of the choices of their field.

    Args:
        settings: dataclass.

    Raises:
        ValueError: if a field whose type is a `Literal` has another value.
    """
    hints = typing.get_type_hints(type(settings))
    for field in dataclasses.fields(settings):
        hint = hints[field.name]
        choices, others = _choices(hint)
        value = getattr(settings, field.name)
        if not choices or (others and not isinstance(value, str)):
            continue
        if value not in choices:
            raise ValueError(
                f"`{field.name}` must be one of "
                f"{', '.join(map(repr, choices))}. Received: "
                f"{field.name}={value!r}{did_you_mean(value, choices)}"
            )


def check_share(name, value, zero=True):
    """Refuses what is no share.

    Args:
        name: str. The setting.
        value: its value.
        zero: bool. Whether 0 is allowed, too. Defaults to `True`.

    Raises:
        ValueError: if the value is not in [0, 1], or (0, 1].
    """
    if isinstance(value, (int, float)) and (0 <= value if zero else 0 < value):
        if value <= 1:
            return
    raise ValueError(
        f"`{name}` must be a number in {'[' if zero else '('}0, 1]. "
        f"Received: {name}={value!r}"
    )


def check_image_options(settings):
    """Refuses settings of crops and colors that are out of range.

    Args:
        settings: has `evaluation_crop`, and the other ones or not.

    Raises:
        ValueError: if one is out of range.
    """
    check_share("evaluation_crop", settings.evaluation_crop, zero=False)
    if hasattr(settings, "crop_scale"):
        check_share("crop_scale", settings.crop_scale, zero=False)
        check_share("flip", settings.flip)
        check_share("color_jitter", settings.color_jitter)
        if settings.augmentation is not None:
            check_function_name("augmentation", settings.augmentation)


def check_sizes(settings):
    """Refuses sizes that no model has, and models without all of theirs.

    Args:
        settings: has `model` and `preset`.

    Raises:
        ValueError: if a size is unknown, or missing and there is no preset.
    """
    known = (*SIZES, *MODEL_OPTIONS)
    for name in settings.model:
        if name not in known:
            raise ValueError(
                f"`model` must have arguments among {', '.join(known)}. "
                f"Received: {name!r}{did_you_mean(name, known)}"
            )
    missing = [name for name in SIZES if name not in settings.model]
    if settings.preset is None and missing:
        raise ValueError(
            "`preset` must name a size, or `model` must give all of "
            f"{', '.join(SIZES)}. Received: preset=None, without "
            f"{', '.join(missing)}"
        )


def check_cache(settings):
    """Refuses a cache that the images cannot have, and misspelled ones.

    Args:
        settings: has `cache` and `data`, and `color_jitter` and
            `augmentation`, or not.

    Raises:
        ValueError: if the cache does not fit.
    """
    cache = settings.cache
    if cache == "device":
        if not settings.data.startswith("folder:"):
            raise ValueError(
                "`cache=device` is for folders of images. Received: "
                f"data={settings.data}"
            )
        for name in ("color_jitter", "augmentation"):
            value = getattr(settings, name, None)
            if value:
                raise ValueError(
                    f"`{name}` must be left out with `cache=device`, where "
                    "images are cropped and flipped only. Received: "
                    f"{name}={value}"
                )
    elif cache is not None and not os.path.isdir(cache):
        suggestion = did_you_mean(cache, ("memory", "device"))
        if suggestion and cache != "memory":
            raise ValueError(
                "`cache` must be 'memory', 'device' or a folder. Received: "
                f"cache={cache!r}{suggestion}"
            )


def settings_of(kind, values):
    """Makes a dataclass of settings from a mapping.

    Args:
        kind: the dataclass.
        values: dict from names to values.

    Returns:
        An instance.

    Raises:
        ValueError: if a name is unknown or a required one is missing.
    """
    fields = dataclasses.fields(kind)
    names = [field.name for field in fields]
    for name in values:
        if name not in names:
            raise ValueError(
                f"Settings must be among {', '.join(names)}. Received: "
                f"{name!r}{did_you_mean(name, names)}"
            )
    for field in fields:
        required = (
            field.default is dataclasses.MISSING
            and field.default_factory is dataclasses.MISSING
        )
        if required and values.get(field.name) is None:
            raise ValueError(f"`{field.name}` must be given.")
    return kind(**values)


def _choices(hint):
    """The literal values of a type, and the other types beside them."""
    if typing.get_origin(hint) is typing.Literal:
        return typing.get_args(hint), ()
    if typing.get_origin(hint) not in (typing.Union, types.UnionType):
        return (), ()
    choices, others = (), ()
    for part in typing.get_args(hint):
        if typing.get_origin(part) is typing.Literal:
            choices += typing.get_args(part)
        else:
            others += (typing.get_origin(part) or part,)
    return choices, others
