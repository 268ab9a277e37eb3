"""Describe the weights of Hugging Face's ViT and ViTMAE: names and sizes."""

from keras_clmae.argument_validation import check_heads
from keras_clmae.conversion import weight_map
from keras_clmae.conversion.huggingface_config import check_agreement
from keras_clmae.conversion.huggingface_config import read_fraction
from keras_clmae.conversion.huggingface_config import read_integer
from keras_clmae.conversion.huggingface_config import read_sides
from keras_clmae.conversion.sizes import Sizes
from keras_clmae.conversion.sizes import Stack
from keras_clmae.conversion.sizes import count_layers
from keras_clmae.conversion.sizes import shape_of
from keras_clmae.conversion.weight_map import dense
from keras_clmae.conversion.weight_map import norm
from keras_clmae.conversion.weight_map import same

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
    epsilon = read_fraction(config, "layer_norm_eps")
    mlp_dim = shape_of(
        weights, f"{prefix}encoder.layer.0.intermediate.dense.weight", 2
    )[0]
    sizes = Sizes(
        (*read_sides(config, "image_size"), projection[1]),
        projection[2],
        Stack(
            dim,
            count_layers(weights.shapes, f"{prefix}encoder.layer."),
            read_integer(config, "num_attention_heads"),
            mlp_dim,
            epsilon,
        ),
        learned_positions=config["model_type"] == "vit",
    )
    check_agreement(
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
        read_integer(config, "decoder_num_attention_heads"),
        mlp_dim,
        epsilon,
    )
    check_agreement(
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
