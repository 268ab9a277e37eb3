"""Describe Hugging Face's ViT and ViTMAE: names of weights and config.json."""

import os

from keras_clmae.argument_validation import check_heads
from keras_clmae.conversion import weight_map
from keras_clmae.conversion.sizes import Sizes
from keras_clmae.conversion.sizes import Stack
from keras_clmae.conversion.sizes import count_layers
from keras_clmae.conversion.sizes import shape_of
from keras_clmae.conversion.weight_map import dense
from keras_clmae.conversion.weight_map import norm
from keras_clmae.conversion.weight_map import same
from keras_clmae.saving.weight_files import read_json

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
# What a folder may hold beside an encoder.
OUTSIDE_ENCODER = (
    "decoder.",
    "pooler.",
    "classifier.",
    "embeddings.mask_token",
)
# Newer releases of transformers write the decoder's blocks by the second name.
DECODER_BLOCKS = ("decoder.decoder_layers", "decoder.decoder_encoder.layer")


def huggingface_table(
    sizes, prefix="vit.", decoder_blocks=DECODER_BLOCKS[0], qkv_bias=True
):
    """Makes the format's table for a model of these sizes.

    Args:
        sizes: `Sizes`.
        prefix: What the encoder's names start with.
        decoder_blocks: What the names of the decoder's blocks start with.
        qkv_bias: bool. Whether queries, keys and values have biases.

    Returns:
        A list of `Entry`.
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


def read_config(folder):
    """Reads the config.json of a ViTMAE or ViT folder, defaults filled in.

    Raises:
        ValueError: If there is none, or it is of another kind of model.
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


def read_class_names(config, num_classes):
    """Reads the names of the classes from `id2label`, or `None`.

    Args:
        config: dict, as `read_config` gives it.
        num_classes: int. Of the weights.

    Returns:
        Tuple of str, or `None`: config.json is silent, or says `LABEL_0`.

    Raises:
        ValueError: If `id2label` has not one name per class.
    """
    labels = config.get("id2label")
    if labels is None:
        return None
    names = (
        tuple(labels.get(str(i)) for i in range(num_classes))
        if isinstance(labels, dict)
        else ()
    )
    if len(labels) != num_classes or not all(
        isinstance(name, str) for name in names
    ):
        raise ValueError(
            "`id2label` of config.json must have one name per class of the "
            f"weights, {num_classes}. Received: id2label={str(labels)[:100]}"
        )
    defaults = tuple(f"LABEL_{index}" for index in range(num_classes))
    return None if names == defaults else names


def read_sizes(config, weights):
    """Reads sizes from the weights; the configuration must agree.

    Args:
        config: dict, as `read_config` gives it.
        weights: `Weights`.

    Returns:
        `Sizes`, and what the encoder's names start with.

    Raises:
        ValueError: If the two do not agree.
    """
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
    blocks = decoder_blocks_of(weights)
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


def decoder_blocks_of(weights):
    """Finds the prefix of the decoder's blocks in a file."""
    return max(
        DECODER_BLOCKS, key=lambda b: count_layers(weights.shapes, f"{b}.")
    )


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


def architecture_of(sizes):
    """Names the class in transformers for a model of these sizes.

    Raises:
        ValueError: If there is none.
    """
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


def config_of(model, sizes, architecture):
    """Makes the content of config.json."""
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
        labels = getattr(model, "class_names", None) or [
            f"LABEL_{index}" for index in range(sizes.num_classes)
        ]
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
