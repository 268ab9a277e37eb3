"""Names of a Vision Transformer's weights in timm, MAE and CL-MAE.

The encoder goes by the same names in all three: those of timm's
`VisionTransformer`, on which MAE's published code builds.
"""

from keras_clmae.conversion.sizes import Stack
from keras_clmae.conversion.sizes import count_layers
from keras_clmae.conversion.sizes import native_image_shape
from keras_clmae.conversion.sizes import shape_of
from keras_clmae.conversion.weight_map import dense
from keras_clmae.conversion.weight_map import fused_attention
from keras_clmae.conversion.weight_map import norm
from keras_clmae.conversion.weight_map import patch_projection
from keras_clmae.conversion.weight_map import positions
from keras_clmae.conversion.weight_map import same


def encoder_table(sizes, final_norm="encoder.norm"):
    """The encoder's table.

    Args:
        sizes: `Sizes`.
        final_norm: path of ours that the last layer normalization stands for,
            or `None` where the format has none.
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
    """The table of a stack of transformer blocks."""
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
    """The `Stack` of blocks that a file holds under a prefix.

    Raises:
        ValueError: if the first block is not there.
    """
    mlp_dim, dim = shape_of(weights, f"{prefix}.0.mlp.fc1.weight", 2)
    return Stack(
        dim,
        count_layers(weights.shapes, f"{prefix}."),
        num_heads,
        mlp_dim,
        layer_norm_epsilon,
    )


def read_image_shape(weights, image_shape):
    """The image and patch sizes that a file's encoder was made for.

    Returns:
        (height, width, channels), and the side of a patch.
    """
    projection = shape_of(weights, "patch_embed.proj.weight", 4)
    _, channels, patch_size, _ = projection
    num_tokens = shape_of(weights, "pos_embed", 3)[1] - 1
    return (
        native_image_shape(num_tokens, patch_size, channels, image_shape),
        patch_size,
    )
