"""Read and write models in any format, and guess the format of a path."""

import os

from keras_clmae.argument_validation import check_choice
from keras_clmae.conversion import huggingface_format
from keras_clmae.conversion import vit_names
from keras_clmae.conversion.huggingface import is_huggingface_folder
from keras_clmae.conversion.huggingface import read_huggingface
from keras_clmae.conversion.huggingface import to_huggingface
from keras_clmae.conversion.keras_hub import is_keras_hub_folder
from keras_clmae.conversion.keras_hub import read_keras_hub
from keras_clmae.conversion.keras_hub import save_keras_hub
from keras_clmae.conversion.resizing import resized
from keras_clmae.conversion.sizes import sizes_of
from keras_clmae.conversion.timm import read_timm
from keras_clmae.conversion.timm import timm_table
from keras_clmae.conversion.timm import to_timm
from keras_clmae.conversion.torch_checkpoint import published_table
from keras_clmae.conversion.torch_checkpoint import read_published
from keras_clmae.conversion.torch_checkpoint import save_torch_checkpoint
from keras_clmae.conversion.weight_map import Mapped
from keras_clmae.conversion.weight_map import Report
from keras_clmae.conversion.weight_map import variables_of
from keras_clmae.file_names import RUN_MODEL
from keras_clmae.saving.atomic_write import atomic_write
from keras_clmae.saving.keras_files import is_keras_clmae_folder
from keras_clmae.saving.keras_files import load_keras_model
from keras_clmae.saving.preset_hub import download_preset
from keras_clmae.saving.preset_hub import is_handle
from keras_clmae.saving.pretrained import find_pretrained
from keras_clmae.saving.weight_files import TORCH_ENDINGS
from keras_clmae.saving.weight_files import open_weights

FORMATS = ("keras", "published", "timm", "huggingface", "keras_hub")


def local_source(source):
    """Finds the weights of a source on this machine.

    Args:
        source: str. Path of a file, of a folder, or of the folder of a run; or
            an `hf://` or `kaggle://` handle, of which the preset's files are
            downloaded; or the name of a pretrained model of the package.

    Returns:
        The path of the file or folder; the handle itself where it names a
        model of Hugging Face's own.

    Raises:
        ValueError: If a handle has another form.
    """
    if is_handle(source):
        folder = download_preset(source)
        # Under hf:// may also lie a model of Hugging Face's own.
        if is_keras_clmae_folder(folder) or not source.startswith("hf://"):
            return folder
        return source
    run_model = os.path.join(source, RUN_MODEL)
    if os.path.isfile(run_model):
        return run_model
    return (
        source if os.path.exists(source) else find_pretrained(source) or source
    )


def guess_source_format(source, key=None, prefix=""):
    """Guesses the format at a path by its ending and its content.

    Args:
        source: str. Path of a file or folder, or a name such as
            `"hf://facebook/vit-mae-base"`.
        key: str. As in `from_timm`.
        prefix: str. As in `from_timm`.

    Returns:
        One of `FORMATS`.

    Raises:
        ValueError: If it is none of them.
    """
    if source.startswith("hf://"):
        return "huggingface"
    if os.path.isdir(source):
        for name, belongs in (
            ("keras", is_keras_clmae_folder),
            ("keras_hub", is_keras_hub_folder),
            ("huggingface", is_huggingface_folder),
        ):
            if belongs(source):
                return name
    elif source.endswith(".keras"):
        return "keras"
    elif source.endswith(".safetensors"):
        return "timm"
    elif source.endswith(TORCH_ENDINGS):
        names = open_weights(source, key, prefix).shapes
        published = ("decoder_", "masking_net.")
        return (
            "published"
            if any(name.startswith(published) for name in names)
            else "timm"
        )
    raise ValueError(
        "`source` must be a .keras, .safetensors or .pth file, or a folder "
        "with the config.json of keras_clmae, KerasHub's ViTBackbone, or "
        f"Hugging Face's ViT or ViTMAE. Received: source={source!r}"
    )


def guess_target_format(target, model):
    """Guesses the format to write by the ending of a path.

    Args:
        target: str. Path. One without an ending is a folder of Hugging Face.
        model: What is to be written.

    Returns:
        One of `FORMATS`.

    Raises:
        ValueError: If the ending is none of theirs.
    """
    if target.endswith(".keras"):
        return "keras"
    if target.endswith(".safetensors"):
        return "timm"
    if target.endswith(TORCH_ENDINGS):
        is_classifier = sizes_of(model).num_classes is not None
        return "timm" if is_classifier else "published"
    ending = os.path.splitext(os.path.basename(os.path.abspath(target)))[1]
    if ending and not os.path.isdir(target):
        raise ValueError(
            "`target` must end in .keras, .safetensors or "
            f"{', '.join(TORCH_ENDINGS)}, or have no ending, for a folder of "
            "Hugging Face; a new folder with a dot in its name needs "
            f"`target_format`. Received: target={target!r}"
        )
    return "huggingface"


def is_outside_encoder(name):
    """Tells whether a weight of a file lies outside of the encoder.

    Args:
        name: str. Its name in the file.
    """
    return name.removeprefix("vit.").startswith(
        (*vit_names.OUTSIDE_ENCODER, *huggingface_format.OUTSIDE_ENCODER)
    )


def read_model(
    source,
    source_format=None,
    num_heads=None,
    decoder_num_heads=None,
    image_shape=None,
    allow_missing=False,
    key=None,
    prefix="",
    grid_size=None,
):
    """Reads a model from any format.

    Args:
        source: str. Path, as `local_source` gives it, or a name such as
            `"hf://facebook/vit-mae-base"`.
        source_format: str. One of `FORMATS`. Guessed by default.
        num_heads: int, for .pth and .safetensors files, which do not hold it.
        decoder_num_heads: int, for .pth files with a decoder.
        image_shape: tuple of int. (height, width, channels) to which position
            tables are interpolated. As it is by default.
        allow_missing: bool. Whether weights may be left out or missing.
        key: str. As in `from_timm`, for .pth files.
        prefix: str. As in `from_timm`, for .pth and .safetensors files.
        grid_size: tuple of int. (rows, columns). As in `from_timm`, for the
            same.

    Returns:
        The model, and a `Report`.

    Raises:
        ValueError: If the source is damaged or does not fit.
    """
    if source_format is None:
        source_format = guess_source_format(source, key, prefix)
    check_choice("source_format", source_format, FORMATS)
    if (key or prefix or grid_size) and source_format not in (
        "published",
        "timm",
    ):
        raise ValueError(
            "`key`, `prefix` and `grid_size` apply to .pth and .safetensors "
            f"files only. Received: key={key!r}, prefix={prefix!r}, "
            f"grid_size={grid_size} for source={source!r}"
        )
    if source_format == "keras":
        model = load_keras_model(source)
        return resized(model, image_shape), _identity(model)
    common = {"image_shape": image_shape}
    if source_format == "keras_hub":
        return read_keras_hub(source, **common)
    common["allow_missing"] = allow_missing
    if source_format == "huggingface":
        return read_huggingface(source, **common)
    common |= {"key": key, "prefix": prefix, "grid_size": grid_size}
    if source_format == "timm":
        return read_timm(source, num_heads=num_heads, **common)
    if num_heads is None or decoder_num_heads is None:
        raise ValueError(
            "`num_heads` and `decoder_num_heads` must be given for a published "
            "checkpoint, which does not hold them. Received: "
            f"num_heads={num_heads}, decoder_num_heads={decoder_num_heads}"
        )
    return read_published(
        source,
        num_heads=num_heads,
        decoder_num_heads=decoder_num_heads,
        **common,
    )


def write_model(
    model, target, target_format=None, allow_missing=False, normalization=None
):
    """Writes a model in any format.

    Args:
        model: `ViTEncoder`, `MaskedAutoencoder`, `CLMAE` or `ImageClassifier`.
        target: str. Path of the file or folder, which is replaced whole or not
            at all.
        target_format: str. One of `FORMATS`. Guessed from the ending by
            default.
        allow_missing: bool. Whether weights may be left out.
        normalization: `PixelNormalization` of the training images, for the
            image processor in a folder of Hugging Face; no other format has a
            place for it. Defaults to `None`: ImageNet's.

    Returns:
        A `Report`.

    Raises:
        ValueError: If the format has no place for the model.
    """
    if target_format is None:
        target_format = guess_target_format(target, model)
    check_choice("target_format", target_format, FORMATS)
    if target_format == "huggingface":
        return to_huggingface(model, target, normalization, allow_missing)
    if normalization is not None:
        raise ValueError(
            "`normalization` has a place in a folder of Hugging Face only. "
            f"Received: normalization={normalization!r}, "
            f"target_format={target_format!r}"
        )
    if target_format == "keras":
        _save_keras(model, target)
        return _identity(model)
    write = {
        "published": save_torch_checkpoint,
        "timm": to_timm,
        "keras_hub": save_keras_hub,
    }[target_format]
    return write(model, target, allow_missing=allow_missing)


def _save_keras(model, target):
    if not target.endswith(".keras"):
        model.save_to_preset(target)
        return
    with atomic_write(target) as unfinished:
        model.save(unfinished)


def _identity(model):
    """Makes the report of this package's own formats, which hold everything."""
    sizes = sizes_of(model)
    classifies = sizes.num_classes is not None
    table = timm_table(sizes) if classifies else published_table(sizes)
    paths = {
        id(variable): path
        for entry in table
        for path, variable in zip(
            entry.ours, variables_of(entry, model), strict=True
        )
    }
    return Report(
        [
            Mapped((v.path,), (paths.get(id(v), v.path),), (tuple(v.shape),))
            for v in model.weights
        ],
        [],
        [],
    )
