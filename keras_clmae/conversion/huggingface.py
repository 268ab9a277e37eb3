"""Convert models from and to Hugging Face: ViTMAE, ViT and its classifier."""

import contextlib
import json
import os
import re
import tempfile
import warnings

from keras_clmae.conversion import weight_map
from keras_clmae.conversion.huggingface_config import architecture_of
from keras_clmae.conversion.huggingface_config import config_of
from keras_clmae.conversion.huggingface_config import read_class_names
from keras_clmae.conversion.huggingface_config import read_config
from keras_clmae.conversion.huggingface_format import decoder_blocks_of
from keras_clmae.conversion.huggingface_format import huggingface_table
from keras_clmae.conversion.huggingface_format import read_sizes
from keras_clmae.conversion.image_processor import FILE_NAME
from keras_clmae.conversion.image_processor import image_processor_of
from keras_clmae.conversion.image_processor import read_image_processor
from keras_clmae.conversion.resizing import resized
from keras_clmae.conversion.sizes import build_model
from keras_clmae.conversion.sizes import sizes_of
from keras_clmae.optional_imports import require
from keras_clmae.saving.atomic_write import atomic_folder
from keras_clmae.saving.weight_files import Weights
from keras_clmae.saving.weight_files import open_weights
from keras_clmae.saving.weight_files import read_json
from keras_clmae.saving.weight_files import write_weights

_WEIGHT_FILES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
# === From Hugging Face ===


def from_huggingface(
    path_or_model, image_shape=None, allow_missing=False, **arguments
):
    """Makes a model from one of Hugging Face's ViTMAE or ViT models.

    Reading runs no code. Needs `pip install "keras-clmae[conversion]"`;
    transformers itself only for a model of its own.

    Args:
        path_or_model: str. Folder with config.json and model.safetensors (or
            pytorch_model.bin, which needs PyTorch), split into several files
            or not; `"hf://organization/name"` or `"hf://organization/name@
            revision"` to download one; or a model of transformers.
        image_shape: tuple of int. (height, width, channels). The position
            tables of encoder and decoder are interpolated where it is not the
            checkpoint's own. Defaults to `None`: the checkpoint's own.
        allow_missing: bool. Whether weights without a place, such as a
            `ViTModel`'s pooler, are left out and missing ones keep their
            initial values, instead of an error. Defaults to `False`.
        **arguments: Further arguments of the model, such as `mask_ratio`,
            `drop_path_rate` or `dtype`.

    Returns:
        A `MaskedAutoencoder` for `ViTMAEForPreTraining`, an `ImageClassifier`
        for `ViTForImageClassification`, a `ViTEncoder` for `ViTMAEModel` and
        `ViTModel`. Hugging Face's `noise` is our `keep_scores=-noise`. A
        classifier has the labels of `id2label` as its `class_names`.

    Raises:
        ValueError: If the folder is incomplete, damaged, of another kind of
            model, or of sizes that do not fit together.

    Example:

    ```python
    model = keras_clmae.conversion.from_huggingface("hf://facebook/vit-mae-base")
    ```
    """
    return read_huggingface(
        path_or_model, image_shape, allow_missing, **arguments
    )[0]


def read_huggingface(
    path_or_model, image_shape=None, allow_missing=False, **arguments
):
    """Makes a model as `from_huggingface` does, and a `Report`.

    Returns:
        The model and a `Report`.
    """
    with _folder_of(path_or_model) as folder:
        config = read_config(folder)
        weights = _open_folder(folder)
        sizes, prefix = read_sizes(config, weights)
        table = huggingface_table(
            sizes,
            prefix,
            decoder_blocks_of(weights),
            qkv_bias=bool(config["qkv_bias"]),
        )
        report = weight_map.check(table, weights, allow_missing)
        if sizes.decoder is not None:
            arguments = {
                "mask_ratio": config["mask_ratio"],
                "normalize_targets": bool(config["norm_pix_loss"]),
                **arguments,
            }
        class_names = None
        if sizes.num_classes is not None:
            class_names = read_class_names(config, sizes.num_classes)
        model = build_model(sizes, **arguments)
        weight_map.assign(table, weights, model)
    model = resized(model, image_shape)
    if class_names is not None:
        # For `id2label`, where the model goes back to Hugging Face.
        model.class_names = class_names
    return model, report


def huggingface_normalization(path):
    """Reads the normalization of the images of a Hugging Face model.

    Args:
        path: str or path. A folder of Hugging Face, or a name such as
            `"hf://organization/name"`.

    Returns:
        A `PixelNormalization` that gives the pixels which the model's image
        processor gives, or `None` where it has no image processor.

    Raises:
        ValueError: If the file is damaged, or its numbers fit no images.

    Example:

    >>> encoder = keras_clmae.models.ViTEncoder((8, 8, 3), 2, 16, 2, 2)
    >>> half = keras_clmae.data.PixelNormalization([0.5] * 3, [0.5] * 3)
    >>> folder = tempfile.mkdtemp()
    >>> report = keras_clmae.conversion.to_huggingface(encoder, folder, half)
    >>> found = keras_clmae.conversion.huggingface_normalization(folder)
    >>> [float(mean) for mean in found.mean]
    [0.5, 0.5, 0.5]
    """
    path = os.fspath(path)
    return read_image_processor(
        _download(path) if path.startswith("hf://") else path
    )


def is_huggingface_folder(folder):
    """Tells whether a config.json names a Hugging Face ViT or ViTMAE."""
    try:
        read_config(folder)
    except ValueError:
        return False
    return True


@contextlib.contextmanager
def _folder_of(path_or_model):
    """Finds the folder of a model; saves or downloads it first if needed."""
    if hasattr(path_or_model, "save_pretrained"):
        # Names on disk differ from those in memory, by the library's version.
        with tempfile.TemporaryDirectory() as folder:
            path_or_model.save_pretrained(folder)
            yield folder
        return
    path = os.fspath(path_or_model)
    if path.startswith("hf://"):
        yield _download(path)
    elif os.path.isdir(path):
        yield path
    else:
        raise ValueError(
            "`path_or_model` must be a folder, a name such as "
            "'hf://facebook/vit-mae-base', or a model of transformers. "
            f"Received: path_or_model={path_or_model!r}"
        )


def _download(handle):
    found = re.fullmatch(
        r"hf://((?:[\w-][\w.-]*/)?[\w-][\w.-]*)(?:@([\w-][\w./-]*))?", handle
    )
    if found is None or ".." in handle:
        raise ValueError(
            "`path_or_model` must be like 'hf://organization/name' or "
            f"'hf://organization/name@revision'. Received: {handle!r}"
        )
    hub = require("huggingface_hub", "Reading `hf://` names")
    arguments = {"repo_id": found[1], "revision": found[2]}
    patterns = ["config.json", FILE_NAME, "model*.safetensors*"]
    folder = hub.snapshot_download(**arguments, allow_patterns=patterns)
    if not any(
        os.path.isfile(os.path.join(folder, name)) for name in _WEIGHT_FILES
    ):
        patterns = ["config.json", FILE_NAME, "pytorch_model*.bin*"]
        folder = hub.snapshot_download(**arguments, allow_patterns=patterns)
    return folder


def _open_folder(folder):
    """Opens the weights of a folder, of one file or of several."""
    for name in _WEIGHT_FILES:
        path = os.path.join(folder, name)
        if not os.path.isfile(path):
            continue
        return (
            _open_shards(path) if name.endswith("json") else open_weights(path)
        )
    raise ValueError(
        "`path` must be a folder with model.safetensors or pytorch_model.bin. "
        f"Received: path={os.fspath(folder)!r}"
    )


def _open_shards(index_path):
    file_of = read_json(index_path).get("weight_map")
    folder = os.path.dirname(index_path)
    if not isinstance(file_of, dict) or not all(
        # Files beside the index alone: a path could leave the folder.
        isinstance(file, str)
        and re.fullmatch(r"[\w-][\w.-]*\.(?:safetensors|bin)", file)
        for file in file_of.values()
    ):
        raise ValueError(
            "`weight_map` must give for every name a file in the same folder. "
            f"Received: path={index_path!r}"
        )
    files = {
        file: open_weights(os.path.join(folder, file))
        for file in sorted(set(file_of.values()))
    }
    absent = [n for n, file in file_of.items() if n not in files[file].shapes]
    if absent:
        raise ValueError(
            f"`path` must hold {absent[0]!r} in {file_of[absent[0]]!r}, as its "
            f"index says. Received: path={index_path!r}"
        )
    return Weights(
        index_path,
        {name: files[file].shapes[name] for name, file in file_of.items()},
        lambda name: files[file_of[name]].read(name),
    )


# === To Hugging Face ===


def to_huggingface(model, directory, normalization=None, allow_missing=False):
    """Writes a folder that transformers loads by `from_pretrained`.

    Needs `pip install "keras-clmae[conversion]"`, but not transformers.

    Args:
        model: `MaskedAutoencoder`, which becomes a `ViTMAEForPreTraining` and
            whose images must be square there; `CLMAE`, of which the
            autoencoder is written; `ViTEncoder`, a `ViTModel`
            (without pooler); or `ImageClassifier` that pools the class token,
            a `ViTForImageClassification`.
        directory: str. Path of the folder, made if it does not exist. Nothing
            is written if anything fails.
        normalization: `PixelNormalization` of the training images, for the
            image processor. Defaults to `None`: ImageNet's; images of other
            than 1 or 3 channels get no image processor then.
        allow_missing: bool. Whether other weights without a place there are
            left out. Defaults to `False`: an error. A masking module has no
            place in any model of Hugging Face: it is left out with a warning.

    Returns:
        A `Report` of what was written.

    Raises:
        ValueError: If there is no such model in transformers.

    Example:

    >>> encoder = keras_clmae.models.ViTEncoder((8, 8, 3), 2, 16, 2, 2)
    >>> folder = tempfile.mkdtemp()
    >>> report = keras_clmae.conversion.to_huggingface(encoder, folder)
    >>> sorted(os.listdir(folder))
    ['config.json', 'model.safetensors', 'preprocessor_config.json']
    >>> keras_clmae.conversion.from_huggingface(folder).num_tokens
    16
    """
    sizes = sizes_of(model)
    architecture = architecture_of(sizes)
    prefix = "" if architecture == "ViTModel" else "vit."
    table = huggingface_table(sizes, prefix)
    masker = getattr(model, "masking_module", None)
    arrays, report = weight_map.export(
        table,
        model,
        allow_missing,
        ignored=() if masker is None else ("masking_module",),
    )
    if masker is not None:
        report = report._replace(
            left_over=[*report.left_over, *(v.path for v in masker.weights)]
        )
        if not allow_missing:
            warnings.warn(
                "Hugging Face has no place for the masking module, which is "
                "left out.",
                stacklevel=2,
            )
    files = {
        "config.json": config_of(model, sizes, architecture),
        FILE_NAME: image_processor_of(sizes, normalization),
    }
    with atomic_folder(directory) as folder:
        for name, content in files.items():
            if content is None:
                continue
            path = os.path.join(folder, name)
            with open(path, "w", encoding="utf-8") as file:
                json.dump(content, file, indent=2)
        write_weights(arrays, os.path.join(folder, "model.safetensors"))
    return report
