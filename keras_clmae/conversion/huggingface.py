"""Weights from and to Hugging Face: ViTMAE, ViT and its image classifier."""

import contextlib
import json
import os
import re
import tempfile

from keras_clmae.argument_validation import check_heads
from keras_clmae.conversion import weight_map
from keras_clmae.conversion.resizing import resized
from keras_clmae.conversion.sizes import Sizes
from keras_clmae.conversion.sizes import Stack
from keras_clmae.conversion.sizes import build_model
from keras_clmae.conversion.sizes import count_layers
from keras_clmae.conversion.sizes import shape_of
from keras_clmae.conversion.sizes import sizes_of
from keras_clmae.conversion.weight_files import Weights
from keras_clmae.conversion.weight_files import folder_written_whole
from keras_clmae.conversion.weight_files import open_weights
from keras_clmae.conversion.weight_files import read_json
from keras_clmae.conversion.weight_files import write_weights
from keras_clmae.conversion.weight_map import dense
from keras_clmae.conversion.weight_map import norm
from keras_clmae.conversion.weight_map import same
from keras_clmae.data.dependencies import require
from keras_clmae.data.normalization import imagenet_normalization

_WEIGHT_FILES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
# What transformers takes where config.json is silent (its ViTConfig and
# ViTMAEConfig).
_DEFAULTS = {
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
    "image_size": 224,
    "patch_size": 16,
    "num_channels": 3,
    "qkv_bias": True,
    "decoder_num_attention_heads": 16,
    "decoder_hidden_size": 512,
    "decoder_num_hidden_layers": 8,
    "decoder_intermediate_size": 2048,
    "mask_ratio": 0.75,
    "norm_pix_loss": False,
}
# Newer releases of transformers write the decoder's blocks by the second name.
_DECODER_BLOCKS = ("decoder.decoder_layers", "decoder.decoder_encoder.layer")


def huggingface_table(
    sizes, prefix="vit.", decoder_blocks=_DECODER_BLOCKS[0], qkv_bias=True
):
    """The format's table for a model of these sizes.

    Args:
        sizes: `Sizes`.
        prefix: what the encoder's names start with.
        decoder_blocks: what the names of the decoder's blocks start with.
        qkv_bias: whether queries, keys and values have biases.
    """
    dim = sizes.encoder.hidden_dim
    table = [
        same(
            f"{prefix}embeddings.cls_token",
            "encoder.class_token.token",
            (1, 1, dim),
        ),
        weight_map.positions(
            f"{prefix}embeddings.position_embeddings", sizes.num_tokens, dim
        ),
        *weight_map.patch_projection(
            f"{prefix}embeddings.patch_embeddings.projection",
            "encoder.patch_embedding.projection",
            sizes.patch_size,
            sizes.channels,
            dim,
        ),
        *_blocks_table(
            f"{prefix}encoder.layer", "encoder.blocks", sizes.encoder, qkv_bias
        ),
        *norm(f"{prefix}layernorm", "encoder.norm", dim),
    ]
    if sizes.num_classes is not None:
        table += dense("classifier", "head", dim, sizes.num_classes)
    if sizes.decoder is not None:
        width = sizes.decoder.hidden_dim
        table += [
            same("decoder.mask_token", "decoder.mask_token", (1, 1, width)),
            weight_map.decoder_positions(
                "decoder.decoder_pos_embed", sizes.num_tokens, width
            ),
            *dense("decoder.decoder_embed", "decoder.embedding", dim, width),
            *_blocks_table(
                decoder_blocks, "decoder.blocks", sizes.decoder, qkv_bias
            ),
            *norm("decoder.decoder_norm", "decoder.norm", width),
            *dense(
                "decoder.decoder_pred",
                "decoder.pixel_head",
                width,
                sizes.patch_dim,
            ),
        ]
    return table


def _blocks_table(prefix, path, stack, qkv_bias):
    dim = stack.hidden_dim
    table = []
    for index in range(stack.num_layers):
        name, block = f"{prefix}.{index}", f"{path}.{index}"
        table += [
            *norm(f"{name}.layernorm_before", f"{block}.attention_norm", dim),
            *weight_map.split_attention(
                [
                    f"{name}.attention.attention.{role}"
                    for role in ("query", "key", "value")
                ],
                f"{block}.attention",
                dim,
                stack.num_heads,
                qkv_bias,
            ),
            *dense(
                f"{name}.attention.output.dense",
                f"{block}.attention.projection",
                dim,
                dim,
            ),
            *norm(f"{name}.layernorm_after", f"{block}.mlp_norm", dim),
            *dense(
                f"{name}.intermediate.dense",
                f"{block}.mlp_expand",
                dim,
                stack.mlp_dim,
            ),
            *dense(
                f"{name}.output.dense",
                f"{block}.mlp_contract",
                stack.mlp_dim,
                dim,
            ),
        ]
    return table


# === From Hugging Face ===


def from_huggingface(
    path_or_model, image_shape=None, allow_missing=False, **arguments
):
    """Makes a model from one of Hugging Face's ViTMAE or ViT models.

    Reading runs no code. Needs `pip install "keras-clmae[conversion]"`;
    transformers itself only for a model of its own.

    Args:
        path_or_model: a folder with config.json and model.safetensors (or
            pytorch_model.bin, which needs PyTorch), split into several files
            or not; `"hf://organisation/name"` or `"hf://organisation/name@
            revision"` to download one; or a model of transformers.
        image_shape: (height, width, channels). The position tables of encoder
            and decoder are interpolated where it is not the checkpoint's own.
            Defaults to `None`: the checkpoint's own.
        allow_missing: bool. Whether weights without a place, such as a
            `ViTModel`'s pooler, are left out and missing ones keep their
            initial values, instead of an error. Defaults to `False`.
        **arguments: further arguments of the model, such as `mask_ratio`,
            `drop_path_rate` or `dtype`.

    Returns:
        A `MaskedAutoencoder` for `ViTMAEForPreTraining`, an `ImageClassifier`
        for `ViTForImageClassification`, a `ViTEncoder` for `ViTMAEModel` and
        `ViTModel`. Hugging Face's `noise` is our `keep_scores=-noise`.

    Raises:
        ValueError: if the folder is incomplete, damaged, of another kind of
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
    """Does what `from_huggingface` does, and returns a `Report` too."""
    with _folder_of(path_or_model) as folder:
        config = read_config(folder)
        weights = _open_folder(folder)
        sizes, prefix = _read_sizes(config, weights)
        table = huggingface_table(
            sizes,
            prefix,
            next(
                (
                    blocks
                    for blocks in _DECODER_BLOCKS
                    if count_layers(weights.shapes, f"{blocks}.")
                ),
                _DECODER_BLOCKS[0],
            ),
            qkv_bias=bool(config["qkv_bias"]),
        )
        report = weight_map.check(table, weights, allow_missing)
        if sizes.decoder is not None:
            arguments = {
                "mask_ratio": config["mask_ratio"],
                "normalize_targets": bool(config["norm_pix_loss"]),
                **arguments,
            }
        model = build_model(sizes, **arguments)
        weight_map.assign(table, weights, model)
    return resized(model, image_shape), report


def is_huggingface_folder(folder):
    """Whether a folder's config.json names a ViT or ViTMAE of Hugging Face."""
    try:
        read_config(folder)
    except ValueError:
        return False
    return True


def read_config(folder):
    """Reads the config.json of a ViTMAE or ViT folder, defaults filled in.

    Raises:
        ValueError: if there is none, or it is of another kind of model.
    """
    path = os.path.join(folder, "config.json")
    config = read_json(path)
    if config.get("model_type") not in ("vit", "vit_mae"):
        raise ValueError(
            "`path` must hold a model of type 'vit' or 'vit_mae'. Received: "
            f"path={path!r}, of type {str(config.get('model_type'))[:50]!r}"
        )
    config = {**_DEFAULTS, **config}
    if config["hidden_act"] != "gelu":
        raise ValueError(
            "`hidden_act` must be 'gelu', the exact one, which is ours. "
            f"Received: hidden_act={str(config['hidden_act'])[:50]!r} in "
            f"{path!r}"
        )
    return config


def _read_sizes(config, weights):
    """Sizes by the weights, with which the configuration must agree."""
    prefix = "vit." if "vit.embeddings.cls_token" in weights.shapes else ""
    dim = shape_of(weights, f"{prefix}embeddings.cls_token", 3)[2]
    projection = shape_of(
        weights, f"{prefix}embeddings.patch_embeddings.projection.weight", 4
    )
    num_positions = shape_of(
        weights, f"{prefix}embeddings.position_embeddings", 3
    )[1]
    epsilon = _number(config, "layer_norm_eps")
    mlp_dim = shape_of(
        weights, f"{prefix}encoder.layer.0.intermediate.dense.weight", 2
    )[0]
    sizes = Sizes(
        (*_sides(config, "image_size"), projection[1]),
        projection[2],
        Stack(
            dim,
            count_layers(weights.shapes, f"{prefix}encoder.layer."),
            _integer(config, "num_attention_heads"),
            mlp_dim,
            epsilon,
        ),
        learned_positions=config["model_type"] == "vit",
    )
    _check_agreement(
        config,
        hidden_size=sizes.encoder.hidden_dim,
        num_hidden_layers=sizes.encoder.num_layers,
        intermediate_size=mlp_dim,
        num_channels=sizes.channels,
        patch_size=sizes.patch_size,
    )
    if sizes.num_tokens + 1 != num_positions:
        raise ValueError(
            "`image_size` and `patch_size` of config.json must give as many "
            f"patches as there are positions, {num_positions - 1}. Received: "
            f"{sizes.num_tokens} patches"
        )
    check_heads(dim, sizes.encoder.num_heads)
    if any(name.startswith("classifier.") for name in weights.shapes):
        num_classes = shape_of(weights, "classifier.weight", 2)[0]
        sizes = sizes._replace(num_classes=num_classes)
    if any(name.startswith("decoder.") for name in weights.shapes):
        sizes = sizes._replace(decoder=_read_decoder(config, weights, epsilon))
    return sizes, prefix


def _read_decoder(config, weights, epsilon):
    dim = shape_of(weights, "decoder.decoder_embed.weight", 2)[0]
    blocks = max(
        _DECODER_BLOCKS, key=lambda b: count_layers(weights.shapes, f"{b}.")
    )
    mlp_dim = shape_of(weights, f"{blocks}.0.intermediate.dense.weight", 2)[0]
    stack = Stack(
        dim,
        count_layers(weights.shapes, f"{blocks}."),
        _integer(config, "decoder_num_attention_heads"),
        mlp_dim,
        epsilon,
    )
    _check_agreement(
        config,
        decoder_hidden_size=dim,
        decoder_num_hidden_layers=stack.num_layers,
        decoder_intermediate_size=mlp_dim,
    )
    check_heads(dim, stack.num_heads)
    return stack


def _check_agreement(config, **found):
    for name, size in found.items():
        claimed = config[name]
        # A patch may be given as [side, side].
        claimed = claimed[0] if claimed == [size, size] else claimed
        if claimed != size:
            raise ValueError(
                f"`{name}` of config.json must agree with the weights, which "
                f"have {size}. Received: {name}={str(config[name])[:50]}"
            )


def _integer(config, name):
    value = config[name]
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(
            f"`{name}` of config.json must be a positive integer. "
            f"Received: {name}={str(value)[:50]}"
        )
    return value


def _number(config, name):
    value = config[name]
    if not isinstance(value, (int, float)) or not 0 < value < 1:
        raise ValueError(
            f"`{name}` of config.json must be a number in (0, 1). "
            f"Received: {name}={str(value)[:50]}"
        )
    return float(value)


def _sides(config, name):
    value = config[name]
    sides = value if isinstance(value, list) else [value, value]
    if len(sides) != 2:
        raise ValueError(
            f"`{name}` of config.json must be one or two integers. "
            f"Received: {name}={str(value)[:50]}"
        )
    return tuple(_integer({name: side}, name) for side in sides)


@contextlib.contextmanager
def _folder_of(path_or_model):
    """The folder of a model, saved or downloaded first where need be."""
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
            "`path_or_model` must be like 'hf://organisation/name' or "
            f"'hf://organisation/name@revision'. Received: {handle!r}"
        )
    hub = require("huggingface_hub", "Reading `hf://` names")
    arguments = {"repo_id": found[1], "revision": found[2]}
    patterns = ["config.json", "model*.safetensors*"]
    folder = hub.snapshot_download(**arguments, allow_patterns=patterns)
    if not any(
        os.path.isfile(os.path.join(folder, name)) for name in _WEIGHT_FILES
    ):
        patterns = ["config.json", "pytorch_model*.bin*"]
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
            whose images must be square there; `ViTEncoder`, a `ViTModel`
            (without pooler); or `ImageClassifier` that pools the class token,
            a `ViTForImageClassification`.
        directory: path of the folder, made if it does not exist. Nothing is
            written if anything fails.
        normalization: `PixelNormalization` of the training images, for the
            image processor. Defaults to `None`: ImageNet's; images of other
            than 1 or 3 channels get no image processor then.
        allow_missing: bool. Whether weights without a place there (a masking
            module) are left out. Defaults to `False`: an error.

    Returns:
        A `Report` of what was written.

    Raises:
        ValueError: if there is no such model in transformers.

    Example:

    ```python
    keras_clmae.conversion.to_huggingface(model.encoder, "my-vit")
    # transformers.ViTModel.from_pretrained("my-vit", add_pooling_layer=False)
    ```
    """
    sizes = sizes_of(model)
    architecture = _architecture(sizes)
    prefix = "" if architecture == "ViTModel" else "vit."
    table = huggingface_table(sizes, prefix)
    arrays, report = weight_map.export(table, model, allow_missing)
    files = {
        "config.json": _config_of(model, sizes, architecture),
        "preprocessor_config.json": _image_processor(sizes, normalization),
    }
    with folder_written_whole(directory) as folder:
        for name, content in files.items():
            if content is None:
                continue
            path = os.path.join(folder, name)
            with open(path, "w", encoding="utf-8") as file:
                json.dump(content, file, indent=2)
        write_weights(arrays, os.path.join(folder, "model.safetensors"))
    return report


def _architecture(sizes):
    if sizes.num_classes is not None:
        if (sizes.pooling, sizes.head_norm) != ("class_token", "none"):
            raise ValueError(
                "`model` must pool the class token without a norm of its head "
                "to become a ViTForImageClassification. Received: "
                f"pooling={sizes.pooling!r}, head_norm={sizes.head_norm!r}"
            )
        return "ViTForImageClassification"
    if sizes.decoder is None:
        return "ViTModel"
    height, width, _ = sizes.image_shape
    if height != width:
        raise ValueError(
            "`model` must be for square images to become a "
            "ViTMAEForPreTraining; its encoder alone may be for others. "
            f"Received: image_shape={sizes.image_shape}"
        )
    if sizes.decoder.layer_norm_epsilon != sizes.encoder.layer_norm_epsilon:
        raise ValueError(
            "`model` must have the same `layer_norm_epsilon` in encoder and "
            "decoder to become a ViTMAEForPreTraining. Received: "
            f"{sizes.encoder.layer_norm_epsilon} and "
            f"{sizes.decoder.layer_norm_epsilon}"
        )
    return "ViTMAEForPreTraining"


def _config_of(model, sizes, architecture):
    stack, (height, width, channels) = sizes.encoder, sizes.image_shape
    config = {
        "architectures": [architecture],
        "model_type": "vit" if sizes.decoder is None else "vit_mae",
        "hidden_size": stack.hidden_dim,
        "num_hidden_layers": stack.num_layers,
        "num_attention_heads": stack.num_heads,
        "intermediate_size": stack.mlp_dim,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "layer_norm_eps": stack.layer_norm_epsilon,
        "image_size": height if height == width else [height, width],
        "patch_size": sizes.patch_size,
        "num_channels": channels,
        "qkv_bias": True,
    }
    if sizes.num_classes is not None:
        labels = [f"LABEL_{index}" for index in range(sizes.num_classes)]
        config["id2label"] = {str(i): label for i, label in enumerate(labels)}
        config["label2id"] = {label: i for i, label in enumerate(labels)}
    if sizes.decoder is not None:
        autoencoder = getattr(model, "autoencoder", model)
        config |= {
            "decoder_hidden_size": sizes.decoder.hidden_dim,
            "decoder_num_hidden_layers": sizes.decoder.num_layers,
            "decoder_num_attention_heads": sizes.decoder.num_heads,
            "decoder_intermediate_size": sizes.decoder.mlp_dim,
            "mask_ratio": autoencoder.mask_ratio,
            "norm_pix_loss": autoencoder.normalize_targets,
        }
    return config


def _image_processor(sizes, normalization):
    height, width, channels = sizes.image_shape
    if normalization is None:
        if channels not in (1, 3):
            return None
        normalization = imagenet_normalization(channels)
    if normalization.channels != channels:
        raise ValueError(
            "`normalization` must be for the model's number of channels, "
            f"{channels}. Received: {normalization!r}"
        )
    return {
        "image_processor_type": "ViTImageProcessor",
        "do_resize": True,
        "size": {"height": height, "width": width},
        # Bicubic, by Pillow's number, as MAE evaluates.
        "resample": 3,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": normalization.mean.tolist(),
        "image_std": normalization.std.tolist(),
    }
