"""Name a Vision Transformer's weights as timm, MAE and CL-MAE do.

The encoder goes by the same names in all three: those of timm's
`VisionTransformer`, on which MAE's published code builds.
"""

import math

from keras_clmae.argument_validation import check_image_shape
from keras_clmae.conversion.grids import fixed_grid
from keras_clmae.conversion.grids import native_grid
from keras_clmae.conversion.sizes import Stack
from keras_clmae.conversion.sizes import count_layers
from keras_clmae.conversion.sizes import shape_of
from keras_clmae.conversion.weight_map import dense
from keras_clmae.conversion.weight_map import fused_attention
from keras_clmae.conversion.weight_map import norm
from keras_clmae.conversion.weight_map import patch_projection
from keras_clmae.conversion.weight_map import positions
from keras_clmae.conversion.weight_map import same

# What a file may hold beside an encoder: decoder, masking module and heads.
OUTSIDE_ENCODER = (
    "decoder_",
    "mask_token",
    "masking_net.",
    "head.",
    "fc_norm.",
)
_OTHER_TOKENS = {
    "dist_token": "a distillation token ('dist_token')",
    "reg_token": "register tokens ('reg_token')",
}


def encoder_table(sizes, final_norm="encoder.norm"):
    """Makes the encoder's table.

    Args:
        sizes: `Sizes`.
        final_norm: str. Path of ours that the last layer normalization stands
            for, or `None` where the format has none.

    Returns:
        A list of `Entry`.
    """
    stack = sizes.encoder
    dim = stack.hidden_dim
    return [
        same("cls_token", "encoder.class_token.token", (1, 1, dim)),
        positions("pos_embed", sizes.num_tokens, dim),
        *patch_projection(
            "patch_embed.proj",
            "encoder.patch_embedding.projection",
            sizes.patch_size,
            sizes.channels,
            dim,
        ),
        *blocks_table("blocks", "encoder.blocks", stack),
        *(norm("norm", final_norm, dim) if final_norm else []),
    ]


def blocks_table(prefix, path, stack):
    """Makes the table of a stack of transformer blocks.

    Returns:
        A list of `Entry`.
    """
    dim = stack.hidden_dim
    table = []
    for index in range(stack.num_layers):
        name, block = f"{prefix}.{index}", f"{path}.{index}"
        attention = f"{block}.attention"
        table += [
            *norm(f"{name}.norm1", f"{block}.attention_norm", dim),
            *fused_attention(
                f"{name}.attn.qkv", attention, dim, stack.num_heads
            ),
            *dense(f"{name}.attn.proj", f"{attention}.projection", dim, dim),
            *norm(f"{name}.norm2", f"{block}.mlp_norm", dim),
            *dense(
                f"{name}.mlp.fc1", f"{block}.mlp_expand", dim, stack.mlp_dim
            ),
            *dense(
                f"{name}.mlp.fc2", f"{block}.mlp_contract", stack.mlp_dim, dim
            ),
        ]
    return table


def read_stack(weights, prefix, num_heads, layer_norm_epsilon=1e-6):
    """Reads the `Stack` of blocks that a file holds under a prefix.

    Raises:
        ValueError: If the first block is not there.
    """
    mlp_dim, dim = shape_of(weights, f"{prefix}.0.mlp.fc1.weight", 2)
    return Stack(
        dim,
        count_layers(weights.shapes, f"{prefix}."),
        num_heads,
        mlp_dim,
        layer_norm_epsilon,
    )


def read_image_shape(weights, image_shape, grid_size=None):
    """Reads the image and patch sizes of a file's encoder.

    Args:
        weights: `Weights`.
        image_shape: What the user asked for, or `None`.
        grid_size: tuple of int. (rows, columns) of patches, where they are
            known.

    Returns:
        (height, width, channels), the side of a patch, and whether the
        positions are MAE's fixed ones.

    Raises:
        ValueError: If they are not known, or there are tokens that ours does
            not have.
    """
    _, channels, patch_size, _ = shape_of(weights, "patch_embed.proj.weight", 4)
    num_positions = shape_of(weights, "pos_embed", 3)[1]
    check_tokens(weights)
    if _lacks_class_row(num_positions, patch_size, image_shape):
        raise _refused_tokens(
            weights, "no position for the class token (no_embed_class)"
        )
    table = weights.read("pos_embed")[0, 1:]
    fixed = fixed_grid(table)
    rows, columns = native_grid(
        num_positions - 1, patch_size, image_shape, grid_size, fixed
    )
    return (
        (rows * patch_size, columns * patch_size, channels),
        patch_size,
        fixed == (rows, columns),
    )


def check_tokens(weights):
    """Refuses tokens that `ViTEncoder` does not have, by their names.

    Args:
        weights: `Weights`.

    Raises:
        ValueError: If there is no class token, or there are others beside it.
    """
    for name, problem in _OTHER_TOKENS.items():
        if name in weights.shapes:
            raise _refused_tokens(weights, problem)
    if "cls_token" not in weights.shapes:
        raise _refused_tokens(weights, "no class token (no 'cls_token')")


def _refused_tokens(weights, problem):
    return ValueError(
        "`path` must hold a Vision Transformer whose tokens are a class token "
        "and the patches, with a position for each. Received: "
        f"{weights.source!r}, which has {problem}"
    )


def _lacks_class_row(num_positions, patch_size, image_shape):
    """Tells whether a table has one row per patch and none for other tokens."""

    def is_square(number):
        return number > 0 and math.isqrt(number) ** 2 == number

    if image_shape is not None:
        height, width, _ = check_image_shape(image_shape, patch_size)
        num_tokens = (height // patch_size) * (width // patch_size)
        if num_positions in (num_tokens, num_tokens + 1):
            return num_positions == num_tokens
    return is_square(num_positions) and not is_square(num_positions - 1)
