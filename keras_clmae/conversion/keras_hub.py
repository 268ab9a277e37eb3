"""Convert encoders from and to KerasHub's `ViTBackbone`.

Both are Keras models, so that most arrays are the same on both sides; KerasHub
splits queries, keys and values, and has the class token's row in its table of
positions. Names are the paths of KerasHub's variables.
"""

import os

import numpy as np
from keras import ops

from keras_clmae.conversion import weight_map
from keras_clmae.conversion.resizing import resized
from keras_clmae.conversion.sizes import Sizes
from keras_clmae.conversion.sizes import Stack
from keras_clmae.conversion.sizes import build_model
from keras_clmae.conversion.sizes import sizes_of
from keras_clmae.conversion.weight_map import Entry
from keras_clmae.conversion.weight_map import same
from keras_clmae.optional_imports import require
from keras_clmae.saving.atomic_write import atomic_folder
from keras_clmae.saving.errors import one_error
from keras_clmae.saving.keras_files import check_weight_file
from keras_clmae.saving.weight_files import Weights
from keras_clmae.saving.weight_files import read_json

_EMBEDDING = "vit_patching_and_embedding"
_INTEGERS = ("num_layers", "num_heads", "hidden_dim", "mlp_dim")
_BIASES = ("use_mha_bias", "use_mlp_bias", "use_patch_bias", "use_class_token")


def keras_hub_table(sizes):
    """Makes the table of a backbone of these sizes.

    Returns:
        A list of `Entry`.
    """
    stack = sizes.encoder
    dim, patch_size = stack.hidden_dim, sizes.patch_size
    projection = "encoder.patch_embedding.projection"
    kernel_shape = (patch_size, patch_size, sizes.channels, dim)
    table = [
        same(
            f"{_EMBEDDING}/class_token",
            "encoder.class_token.token",
            (1, 1, dim),
        ),
        weight_map.positions(
            f"{_EMBEDDING}/position_embedding/embeddings",
            sizes.num_tokens,
            dim,
            leading=(),
        ),
        Entry(
            {f"{_EMBEDDING}/patch_embedding/kernel": kernel_shape},
            (f"{projection}.kernel",),
            lambda kernel: [kernel.reshape(-1, dim)],
            lambda kernel: [kernel.reshape(kernel_shape)],
        ),
        same(
            f"{_EMBEDDING}/patch_embedding/bias", f"{projection}.bias", (dim,)
        ),
    ]
    for index in range(stack.num_layers):
        table += _block_table(
            f"vit_encoder/transformer_block_{index + 1}",
            f"encoder.blocks.{index}",
            stack,
        )
    return table + _norm("vit_encoder/ln", "encoder.norm", dim)


def _block_table(name, block, stack):
    dim, mlp_dim = stack.hidden_dim, stack.mlp_dim
    head_shape = (stack.num_heads, dim // stack.num_heads)
    attention = f"{block}.attention"
    roles = ("query", "key", "value")
    return [
        *_norm(f"{name}/ln_1", f"{block}.attention_norm", dim),
        Entry(
            {f"{name}/mha/{role}/kernel": (dim, *head_shape) for role in roles},
            (f"{attention}.qkv_kernel",),
            lambda *kernels: [np.stack(kernels, axis=1)],
            lambda kernel: list(kernel.swapaxes(0, 1)),
        ),
        Entry(
            {f"{name}/mha/{role}/bias": head_shape for role in roles},
            (f"{attention}.qkv_bias",),
            lambda *biases: [np.stack(biases)],
            list,
        ),
        Entry(
            {f"{name}/mha/attention_output/kernel": (*head_shape, dim)},
            (f"{attention}.projection.kernel",),
            lambda kernel: [kernel.reshape(dim, dim)],
            lambda kernel: [kernel.reshape(*head_shape, dim)],
        ),
        same(
            f"{name}/mha/attention_output/bias",
            f"{attention}.projection.bias",
            (dim,),
        ),
        *_norm(f"{name}/ln_2", f"{block}.mlp_norm", dim),
        *_dense(f"{name}/mlp/dense_1", f"{block}.mlp_expand", dim, mlp_dim),
        *_dense(f"{name}/mlp/dense_2", f"{block}.mlp_contract", mlp_dim, dim),
    ]


def _norm(name, path, dim):
    return [
        same(f"{name}/{weight}", f"{path}.{weight}", (dim,))
        for weight in ("gamma", "beta")
    ]


def _dense(name, path, inputs, outputs):
    return [
        same(f"{name}/kernel", f"{path}.kernel", (inputs, outputs)),
        same(f"{name}/bias", f"{path}.bias", (outputs,)),
    ]


def to_keras_hub(model, allow_missing=False):
    """Makes a KerasHub `ViTBackbone` with the same features.

    Needs `pip install "keras-clmae[keras-hub]"`.

    Args:
        model: `ViTEncoder`, such as `model.encoder`.
        allow_missing: bool. Whether weights without a place there (of a decoder
            or a head) are left out. Defaults to `False`: an error.

    Returns:
        A `keras_hub.models.ViTBackbone`, usable in its `ViTImageClassifier`.

    Raises:
        ImportError: If KerasHub is not installed.
        ValueError: If weights of the model have no place there.

    Example:

    ```python
    backbone = keras_clmae.conversion.to_keras_hub(model.encoder)
    classifier = keras_hub.models.ViTImageClassifier(backbone, num_classes=10)
    ```
    """
    return write_keras_hub(model, allow_missing)[0]


def write_keras_hub(model, allow_missing=False):
    """Makes a backbone as `to_keras_hub` does, and a `Report`.

    Returns:
        A `keras_hub.models.ViTBackbone` and a `Report`.
    """
    sizes = sizes_of(model)
    arrays, report = weight_map.export(
        keras_hub_table(sizes), model, allow_missing
    )
    backbone = _make_backbone(sizes, dtype=model.dtype_policy)
    for variable in backbone.weights:
        variable.assign(arrays[variable.path])
    return backbone, report


def save_keras_hub(model, directory, allow_missing=False):
    """Writes a KerasHub preset, and returns a `Report`."""
    backbone, report = write_keras_hub(model, allow_missing)
    with atomic_folder(directory) as folder:
        backbone.save_to_preset(folder)
    return report


def from_keras_hub(backbone, image_shape=None, **arguments):
    """Makes an encoder with the features of a KerasHub `ViTBackbone`.

    Args:
        backbone: `keras_hub.models.ViTBackbone` with a class token and biases,
            or the folder of its preset.
        image_shape: tuple of int. (height, width, channels). The position table
            is interpolated where it is not the backbone's own. Defaults to
            `None`: the backbone's own.
        **arguments: Further arguments of the encoder, such as
            `drop_path_rate`. Dropout has no counterpart.

    Returns:
        A `ViTEncoder`.

    Raises:
        ValueError: If the backbone is another, or a folder is damaged.

    Example:

    ```python
    encoder = keras_clmae.conversion.from_keras_hub(backbone)
    ```
    """
    return read_keras_hub(backbone, image_shape, **arguments)[0]


def read_keras_hub(backbone, image_shape=None, **arguments):
    """Makes an encoder as `from_keras_hub` does, and a `Report`.

    Returns:
        A `ViTEncoder` and a `Report`.

    Raises:
        ValueError: If the backbone is another, or a folder is damaged.
    """
    if isinstance(backbone, (str, os.PathLike)):
        backbone = _load_backbone(os.fspath(backbone))
    source = type(backbone).__name__
    if source != "ViTBackbone":
        raise ValueError(
            "`backbone` must be a keras_hub.models.ViTBackbone, or the folder "
            f"of one. Received: backbone={backbone!r}"
        )
    sizes = _sizes_of(backbone.get_config())
    variables = {variable.path: variable for variable in backbone.weights}
    weights = Weights(
        source,
        {path: tuple(v.shape) for path, v in variables.items()},
        lambda path: ops.convert_to_numpy(variables[path]).astype("float32"),
    )
    table = keras_hub_table(sizes)
    report = weight_map.check(table, weights)
    encoder = build_model(sizes, **arguments)
    weight_map.assign(table, weights, encoder)
    return resized(encoder, image_shape), report


def is_keras_hub_folder(folder):
    """Tells whether a folder's config.json names a KerasHub `ViTBackbone`."""
    try:
        config = read_json(os.path.join(folder, "config.json"))
    except ValueError:
        return False
    return config.get("registered_name") == "keras_hub>ViTBackbone"


def _load_backbone(folder):
    """Reads a preset: its sizes from config.json, then its weights."""
    if not is_keras_hub_folder(folder):
        raise ValueError(
            "`backbone` must be a folder that ViTBackbone.save_to_preset "
            f"wrote. Received: backbone={folder!r}"
        )
    config = read_json(os.path.join(folder, "config.json")).get("config")
    sizes = _sizes_of(config if isinstance(config, dict) else {})
    path = os.path.join(folder, "model.weights.h5")
    stack = sizes.encoder

    def shapes_of_depth(num_layers):
        table = keras_hub_table(
            sizes._replace(encoder=stack._replace(num_layers=num_layers))
        )
        return [shape for entry in table for shape in entry.theirs.values()]

    check_weight_file(path, shapes_of_depth, stack.num_layers)
    backbone = _make_backbone(sizes)
    with one_error(path, "the weights of the ViTBackbone in config.json"):
        backbone.load_weights(path)
    return backbone


def _make_backbone(sizes, dtype=None):
    keras_hub = require("keras_hub", "Converting to KerasHub")
    return keras_hub.models.ViTBackbone(
        image_shape=sizes.image_shape,
        patch_size=sizes.patch_size,
        **sizes.encoder._asdict(),
        data_format="channels_last",
        dtype=dtype,
    )


def _sizes_of(config):
    """Reads sizes from the configuration of a backbone, and checks each."""
    values = [config.get(name) for name in _INTEGERS]
    shape, patch_size = config.get("image_shape"), config.get("patch_size")
    sides = [*_as_list(shape), *_as_list(patch_size)]
    epsilon = config.get("layer_norm_epsilon")
    if (
        len(sides) != 5
        or not all(type(v) is int and v > 0 for v in [*values, *sides])
        or not isinstance(epsilon, float)
        or sides[3] != sides[4]
        or not all(config.get(name) is True for name in _BIASES)
    ):
        raise ValueError(
            "`backbone` must be a ViTBackbone with square patches, a class "
            "token, biases, and images whose channels are last. Received: "
            f"{str(config)[:300]}"
        )
    num_layers, num_heads, hidden_dim, mlp_dim = values
    return Sizes(
        tuple(sides[:3]),
        sides[3],
        Stack(hidden_dim, num_layers, num_heads, mlp_dim, epsilon),
        learned_positions=True,
    )


def _as_list(value):
    return list(value) if isinstance(value, (list, tuple)) else [value]
