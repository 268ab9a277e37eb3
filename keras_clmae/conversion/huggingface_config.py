"""Read, check and make the config.json of Hugging Face's ViT and ViTMAE."""

import os

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


def check_agreement(config, **found):
    """Checks that config.json has the sizes of the weights.

    Args:
        config: dict, as `read_config` gives it.
        **found: int by their names in config.json.

    Raises:
        ValueError: If one of them differs.
    """
    for name, size in found.items():
        claimed = config[name]
        # A patch may be given as [side, side].
        claimed = claimed[0] if claimed == [size, size] else claimed
        if claimed != size:
            raise ValueError(
                f"`{name}` of config.json must agree with the weights, which "
                f"have {size}. Received: {name}={str(config[name])[:50]}"
            )


def read_integer(config, name):
    """Reads a positive integer, or raises `ValueError`."""
    value = config[name]
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(
            f"`{name}` of config.json must be a positive integer. "
            f"Received: {name}={str(value)[:50]}"
        )
    return value


def read_fraction(config, name):
    """Reads a float in (0, 1), or raises `ValueError`."""
    value = config[name]
    if not isinstance(value, (int, float)) or not 0 < value < 1:
        raise ValueError(
            f"`{name}` of config.json must be a number in (0, 1). "
            f"Received: {name}={str(value)[:50]}"
        )
    return float(value)


def read_sides(config, name):
    """Reads height and width, or raises `ValueError`."""
    value = config[name]
    sides = value if isinstance(value, list) else [value, value]
    if len(sides) != 2:
        raise ValueError(
            f"`{name}` of config.json must be one or two integers. "
            f"Received: {name}={str(value)[:50]}"
        )
    return tuple(read_integer({name: side}, name) for side in sides)


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
