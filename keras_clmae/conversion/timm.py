"""Weights from and to timm's VisionTransformer (`vit_*`)."""

import numpy as np

from keras_clmae.argument_validation import check_heads
from keras_clmae.conversion import vit_names
from keras_clmae.conversion import weight_map
from keras_clmae.conversion.resizing import resized
from keras_clmae.conversion.sizes import Sizes
from keras_clmae.conversion.sizes import build_model
from keras_clmae.conversion.sizes import shape_of
from keras_clmae.conversion.sizes import sizes_of
from keras_clmae.conversion.weight_map import dense
from keras_clmae.conversion.weight_map import norm
from keras_clmae.layers.position_embedding import sincos_position_table
from keras_clmae.saving.weight_files import Weights
from keras_clmae.saving.weight_files import open_weights
from keras_clmae.saving.weight_files import write_weights


def timm_table(sizes):
    """The format's table for a model of these sizes."""
    dim = sizes.encoder.hidden_dim
    if sizes.num_classes is None:
        return vit_names.encoder_table(sizes)
    head = dense("head", "head", dim, sizes.num_classes)
    if sizes.pooling == "class_token":
        return [*vit_names.encoder_table(sizes), *head]
    # timm's `global_pool="avg"` norms the mean, in place of the tokens.
    return [
        *vit_names.encoder_table(sizes, final_norm=None),
        *norm("fc_norm", "head_norm", dim),
        *head,
    ]


def from_timm(
    path_or_model,
    num_heads=None,
    image_shape=None,
    allow_missing=False,
    layer_norm_epsilon=1e-6,
    **arguments,
):
    """Makes an encoder or a classifier from a `vit_*` of timm.

    MAE's fine-tuned and encoder-only files have the same names. Reading runs no
    code. `.safetensors` files need `pip install "keras-clmae[conversion]"`,
    others PyTorch; timm itself is not needed.

    Args:
        path_or_model: path of a .safetensors or .pth file, or a timm model.
        num_heads: int. Attention heads, which a file does not tell. Defaults to
            `None`: a timm model's own.
        image_shape: (height, width, channels). The file's own, square, by
            default; the position table is interpolated where it has another
            number of patches.
        allow_missing: bool. Whether weights without a place are left out and
            missing ones keep their initial values, instead of an error.
            Defaults to `False`.
        layer_norm_epsilon: float. Defaults to `1e-6`, as in timm's `vit_*`.
        **arguments: further arguments of the model, such as `drop_path_rate`.

    Returns:
        An `ImageClassifier` for weights with a head, else a `ViTEncoder`. Its
        position table is learned (`learned_positions=True`) unless the file's
        is MAE's fixed one, as in MAE's encoder-only files. With
        a norm of the mean (`fc_norm`) there is none of the tokens: the
        encoder's own neither scales nor shifts.

    Raises:
        ValueError: if a file is missing, damaged, or of another format.

    Example:

    >>> encoder = keras_clmae.models.ViTEncoder((8, 8, 1), 2, 16, 2, 2)
    >>> path = os.path.join(tempfile.mkdtemp(), "vit.safetensors")
    >>> report = keras_clmae.conversion.to_timm(encoder, path)
    >>> keras_clmae.conversion.from_timm(path, num_heads=2).image_shape
    (8, 8, 1)
    """
    return read_timm(
        path_or_model,
        num_heads,
        image_shape,
        allow_missing,
        layer_norm_epsilon,
        **arguments,
    )[0]


def read_timm(
    path_or_model,
    num_heads=None,
    image_shape=None,
    allow_missing=False,
    layer_norm_epsilon=1e-6,
    **arguments,
):
    """Does what `from_timm` does, and returns a `Report` too."""
    if hasattr(path_or_model, "state_dict"):
        weights = _weights_of(path_or_model)
        if num_heads is None:
            num_heads = path_or_model.blocks[0].attn.num_heads
    else:
        weights = open_weights(path_or_model)
    if num_heads is None:
        raise ValueError(
            "`num_heads` must be given for a file, which does not hold it. "
            "Received: num_heads=None"
        )
    native, patch_size = vit_names.read_image_shape(weights, image_shape)
    stack = vit_names.read_stack(
        weights, "blocks", num_heads, layer_norm_epsilon
    )
    check_heads(stack.hidden_dim, num_heads)
    sizes = Sizes(native, patch_size, stack)
    if "head.weight" in weights.shapes:
        sizes = sizes._replace(
            num_classes=shape_of(weights, "head.weight", 2)[0]
        )
        if "fc_norm.weight" in weights.shapes:
            sizes = sizes._replace(
                pooling="mean_before_norm", head_norm="layer_norm"
            )
    table = timm_table(sizes)
    report = weight_map.check(table, weights, allow_missing)
    # Last, as it reads an array: the shapes are checked now.
    sizes = sizes._replace(learned_positions=not _are_fixed(weights, sizes))
    model = build_model(sizes, **arguments)
    weight_map.assign(table, weights, model)
    return resized(model, image_shape), report


def to_timm(model, path, allow_missing=False):
    """Writes an encoder or a classifier as a timm `vit_*` state dict.

    Args:
        model: `ViTEncoder` (for timm's `num_classes=0`), or `ImageClassifier`
            that pools the class token (`global_pool="token"`) or, with the
            default head, the mean (`global_pool="avg"`).
        path: path of the .safetensors or .pth file. It is replaced whole or not
            at all.
        allow_missing: bool. Whether weights without a place there (a decoder, a
            masking module) are left out. Defaults to `False`: an error.

    Returns:
        A `Report` of what was written.

    Raises:
        ValueError: if timm has no such model.

    Example:

    ```python
    keras_clmae.conversion.to_timm(model.encoder, "vit.safetensors")
    # timm.create_model("vit_base_patch16_224", num_classes=0,
    #                   checkpoint_path="vit.safetensors")
    ```
    """
    sizes = sizes_of(model)
    heads = {("class_token", "none"), ("mean_before_norm", "layer_norm")}
    if (
        sizes.num_classes is not None
        and (sizes.pooling, sizes.head_norm) not in heads
    ):
        raise ValueError(
            "`model` must pool the class token without a norm of its head, or "
            "the mean before the norm with a layer norm, for timm. Received: "
            f"pooling={sizes.pooling!r}, head_norm={sizes.head_norm!r}"
        )
    # Nobody reads the encoder's own norm where the mean is taken before it.
    ignored = ("encoder.norm",) if sizes.head_norm == "layer_norm" else ()
    arrays, report = weight_map.export(
        timm_table(sizes), model, allow_missing, ignored
    )
    write_weights(arrays, path)
    return report


def _are_fixed(weights, sizes):
    """Whether a file's positions are MAE's fixed table, never trained."""
    dim = sizes.encoder.hidden_dim
    if dim % 4:
        return False
    table = sincos_position_table(sizes.grid_size, dim, num_prefix_tokens=1)
    # Half precision rounds by less.
    return np.allclose(weights.read("pos_embed")[0], table, rtol=0, atol=1e-3)


def _weights_of(model):
    state_dict = model.state_dict()
    return Weights(
        type(model).__name__,
        {name: tuple(value.shape) for name, value in state_dict.items()},
        lambda name: state_dict[name].detach().float().cpu().numpy(),
    )
