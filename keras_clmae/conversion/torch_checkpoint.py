"""Convert weights from and to the published CL-MAE and MAE checkpoints.

A file holds `{"model": state_dict}`. Names and layouts are PyTorch's: linear
weights are (out, in), the patch projection is a convolution.
"""

import warnings

from keras_clmae.argument_validation import check_heads
from keras_clmae.conversion import vit_names
from keras_clmae.conversion import weight_map
from keras_clmae.conversion.grids import fixed_grid
from keras_clmae.conversion.resizing import resized
from keras_clmae.conversion.sizes import Sizes
from keras_clmae.conversion.sizes import Stack
from keras_clmae.conversion.sizes import build_model
from keras_clmae.conversion.sizes import shape_of
from keras_clmae.conversion.sizes import sizes_of
from keras_clmae.conversion.weight_map import dense
from keras_clmae.conversion.weight_map import norm
from keras_clmae.conversion.weight_map import same
from keras_clmae.saving.weight_files import open_weights
from keras_clmae.saving.weight_files import write_weights

# What MAE's code takes, for files without a decoder.
_DEFAULT_DECODER = {"hidden_dim": 512, "num_layers": 8}


def published_table(sizes):
    """Makes the format's table for a model of these sizes.

    Returns:
        A list of `Entry`.
    """
    dim = sizes.encoder.hidden_dim
    table = vit_names.encoder_table(sizes)
    if sizes.decoder is not None:
        stack = sizes.decoder
        table += [
            same("mask_token", "decoder.mask_token", (1, 1, stack.hidden_dim)),
            weight_map.decoder_positions(
                "decoder_pos_embed", sizes.num_tokens, stack.hidden_dim
            ),
            *dense("decoder_embed", "decoder.embedding", dim, stack.hidden_dim),
            *vit_names.blocks_table("decoder_blocks", "decoder.blocks", stack),
            *norm("decoder_norm", "decoder.norm", stack.hidden_dim),
            *dense(
                "decoder_pred",
                "decoder.pixel_head",
                stack.hidden_dim,
                sizes.patch_dim,
            ),
        ]
    if sizes.masking_module is not None:
        prefix, path = "masking_net", "masking_module"
        outputs = sizes.num_tokens if sizes.masking_head == "class_token" else 1
        table += [
            same(
                f"{prefix}.cls_token", f"{path}.class_token.token", (1, 1, dim)
            ),
            same(
                f"{prefix}.pos_embed",
                f"{path}.class_token.position",
                (1, 1, dim),
            ),
            *vit_names.blocks_table(
                f"{prefix}.blocks", f"{path}.blocks", sizes.masking_module
            ),
            *norm(f"{prefix}.mlp_head.0", f"{path}.norm", dim),
            *dense(f"{prefix}.mlp_head.1", f"{path}.score_head", dim, outputs),
        ]
    return table


def load_torch_checkpoint(
    path,
    *,
    num_heads,
    decoder_num_heads,
    allow_missing=False,
    key=None,
    prefix="",
    **arguments,
):
    """Makes a model from a published CL-MAE or MAE checkpoint file.

    Sizes are read from the weights; only numbers of heads cannot be. The file
    is read with `weights_only=True`: it cannot run code. Needs PyTorch, on any
    Keras backend.

    Args:
        path: str. Path of a .pth file.
        num_heads: int. Attention heads of the encoder.
        decoder_num_heads: int. Attention heads of the decoder.
        allow_missing: bool. Whether weights without a place in the model are
            left out, and missing ones keep their initial values, instead of an
            error. Defaults to `False`.
        key: str. Which state dict of the file is meant. Defaults to `None`:
            `"model"`, or the only one.
        prefix: str. Start of the names that are meant, such as `"module."`; all
            others are left out. Defaults to `""`.
        **arguments: Further arguments of the model, such as `mask_ratio`,
            `normalize_targets`, `gaussian_loss_weight`; `image_shape`, the
            file's own when it is not given, to which the position tables are
            interpolated where it has another grid of patches; `grid_size`,
            (rows, columns) of patches in the file, needed only where its
            positions are learned and `image_shape` has as many patches in
            another grid; `masking_num_heads`, 4 by default;
            `layer_norm_epsilon` of encoder and decoder, 1e-6 by default; for
            files without a decoder `decoder_hidden_dim` and
            `decoder_num_layers`, 512 and 8 by default as in MAE.

    Returns:
        A `CLMAE` for a file with a masking module, else a `MaskedAutoencoder`.
        Of an encoder-only file the decoder keeps its initial values, and a
        warning says so.

    Raises:
        ValueError: If the file is missing, damaged, or of another format.

    Example:

    ```python
    model = keras_clmae.conversion.load_torch_checkpoint(
        "clmae.pth", num_heads=12, decoder_num_heads=16
    )
    ```
    """
    return read_published(
        path,
        num_heads=num_heads,
        decoder_num_heads=decoder_num_heads,
        allow_missing=allow_missing,
        key=key,
        prefix=prefix,
        **arguments,
    )[0]


def read_published(
    path,
    *,
    num_heads,
    decoder_num_heads,
    allow_missing=False,
    key=None,
    prefix="",
    image_shape=None,
    grid_size=None,
    masking_num_heads=4,
    decoder_hidden_dim=_DEFAULT_DECODER["hidden_dim"],
    decoder_num_layers=_DEFAULT_DECODER["num_layers"],
    layer_norm_epsilon=1e-6,
    **arguments,
):
    """Makes a model as `load_torch_checkpoint` does, and a `Report`.

    Returns:
        The model and a `Report`.
    """
    weights = open_weights(path, key, prefix)
    native, patch_size, _ = vit_names.read_image_shape(
        weights, image_shape, grid_size
    )
    if "decoder_embed.weight" in weights.shapes:
        decoder = vit_names.read_stack(
            weights, "decoder_blocks", decoder_num_heads, layer_norm_epsilon
        )
    else:
        decoder = Stack(
            decoder_hidden_dim,
            decoder_num_layers,
            decoder_num_heads,
            4 * decoder_hidden_dim,
        )
    sizes = Sizes(
        native,
        patch_size,
        vit_names.read_stack(weights, "blocks", num_heads, layer_norm_epsilon),
        decoder,
    )
    if any(name.startswith("masking_net.") for name in weights.shapes):
        head = shape_of(weights, "masking_net.mlp_head.1.weight", 2)
        sizes = sizes._replace(
            masking_module=vit_names.read_stack(
                weights,
                "masking_net.blocks",
                masking_num_heads,
                layer_norm_epsilon=1e-5,
            ),
            masking_head="per_token" if head[0] == 1 else "class_token",
        )
    for stack in (sizes.encoder, sizes.decoder, sizes.masking_module):
        if stack is not None:
            check_heads(stack.hidden_dim, stack.num_heads)
    table, report = _check(sizes, weights, allow_missing)
    model = build_model(sizes, **arguments)
    weight_map.assign(table, weights, model)
    return resized(model, image_shape), report


def load_torch_weights(path, model, allow_missing=False, key=None, prefix=""):
    """Loads a published checkpoint file into a model that exists.

    Parts of the model that the file lacks altogether (the decoder, the masking
    module) keep their values, and a warning names them.

    Args:
        path: str. Path of a .pth file.
        model: `CLMAE`, `MaskedAutoencoder` or `ViTEncoder` of the same sizes.
        allow_missing: bool. Whether weights without a place in the model are
            left out, and missing ones keep their values, instead of an error.
            Defaults to `False`.
        key: str. As in `load_torch_checkpoint`.
        prefix: str. As in `load_torch_checkpoint`.

    Raises:
        ValueError: If the file is missing, damaged, of another format or of
            other sizes. The model is then as it was.

    Example:

    ```python
    model = keras_clmae.models.CLMAE.from_preset(
        "clmae_base_patch16_224", load_weights=False
    )
    keras_clmae.conversion.load_torch_weights("mae_pretrain.pth", model)
    ```
    """
    weights = open_weights(path, key, prefix)
    sizes = _published_sizes(model)
    _check_grid(weights, sizes)
    table, _ = _check(sizes, weights, allow_missing, stacklevel=3)
    weight_map.assign(table, weights, model)


def save_torch_checkpoint(model, path, allow_missing=False):
    """Writes a model in the published checkpoint format.

    Loading the file gives the same weights back, bit for bit. Needs PyTorch, on
    any Keras backend.

    Args:
        model: `CLMAE`, `MaskedAutoencoder` or `ViTEncoder`.
        path: str. Path of the .pth file. It is replaced whole or not at all.
        allow_missing: bool. Whether weights without a place in the format are
            left out. Defaults to `False`: an error.

    Returns:
        A `Report` of what was written.

    Raises:
        ValueError: If the format has no place for the model, or for a part of
            it such as a masking layer of your own.

    Example:

    ```python
    keras_clmae.conversion.save_torch_checkpoint(model, "clmae.pth")
    ```
    """
    table = published_table(_published_sizes(model))
    arrays, report = weight_map.export(table, model, allow_missing)
    write_weights(arrays, path)
    return report


def _check_grid(weights, sizes):
    """Refuses positions of another grid with as many patches."""
    shape = weights.shapes.get("pos_embed")
    if shape != (1, sizes.num_tokens + 1, sizes.encoder.hidden_dim):
        return  # Refused by its shape, where it is read.
    grid = fixed_grid(weights.read("pos_embed")[0, 1:])
    if grid is not None and grid != sizes.grid_size:
        raise ValueError(
            f"`model` must have the grid of patches of the file, {grid}: make "
            "it by load_torch_checkpoint(..., image_shape=...), which "
            f"interpolates. Received: a model of the grid {sizes.grid_size}"
        )


def _published_sizes(model):
    sizes = sizes_of(model)
    if sizes.num_classes is not None:
        raise ValueError(
            "`model` must be a CLMAE, a MaskedAutoencoder or a ViTEncoder: the "
            f"format has no classifiers. Received: model={model!r}"
        )
    return sizes


def _check(sizes, weights, allow_missing, stacklevel=4):
    """Makes the table of the parts that a file has, and checks it.

    Absent parts are no error here: MAE publishes encoders alone. A warning
    names them.
    """
    absent, missing, table = [], [], []
    for part, entries in _by_part(published_table(sizes)).items():
        names = [name for entry in entries for name in entry.theirs]
        if part != "encoder" and not any(n in weights.shapes for n in names):
            absent.append(part.replace("_", " "))
            missing += names
        else:
            table += entries
    report = weight_map.check(table, weights, allow_missing)
    if absent:
        warnings.warn(
            f"The checkpoint has no {' and no '.join(absent)}: "
            "the initial values stay.",
            stacklevel=stacklevel,
        )
    return table, report._replace(missing=[*report.missing, *missing])


def _by_part(table):
    parts = {}
    for entry in table:
        parts.setdefault(entry.part, []).append(entry)
    return parts
