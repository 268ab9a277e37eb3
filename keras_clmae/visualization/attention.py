"""Measure and draw the attention of the encoder's class token."""

import keras
import numpy as np
from keras import ops

from keras_clmae.visualization.panels import panel_grid
from keras_clmae.visualization.panels import scale_beside


def class_token_attention(encoder, images, block=-1):
    """Computes the attention of the class token to the patches, in one block.

    Computed from the block's own query and key projections, beside the fused
    attention of training, which never has these weights at hand.

    Args:
        encoder: `ViTEncoder`.
        images: float array of shape (batch, height, width, channels).
        block: int. Index of the transformer block. Defaults to `-1`, the last.

    Returns:
        float32 array of shape (batch, heads, rows, columns); what is missing
        from a sum of 1 is the attention to the class token itself.

    Raises:
        ValueError: If the encoder has no such block.

    Example:

    >>> encoder = keras_clmae.models.ViTEncoder((8, 12, 1), 4, 16, 2, 2)
    >>> keras_clmae.visualization.class_token_attention(
    ...     encoder, np.zeros((5, 8, 12, 1), "float32")
    ... ).shape
    (5, 2, 2, 3)
    """
    count = len(encoder.blocks)
    if not -count <= block < count:
        raise ValueError(
            f"`block` must be from {-count} to {count - 1}, as the encoder has "
            f"{count} blocks. Received: block={block}"
        )
    tokens = encoder.class_token(encoder.embed(np.asarray(images, "float32")))
    for earlier in encoder.blocks[: block % count]:
        tokens = earlier(tokens)
    chosen = encoder.blocks[block]
    tokens = ops.cast(chosen.attention_norm(tokens), "float32")
    kernel = ops.cast(chosen.attention.qkv_kernel, "float32")
    bias = ops.cast(chosen.attention.qkv_bias, "float32")
    query = ops.tensordot(tokens[:, 0], kernel[:, 0], axes=1) + bias[0]
    key = ops.tensordot(tokens, kernel[:, 1], axes=1) + bias[1]
    scores = ops.einsum("bhd,bthd->bht", query, key)
    weights = ops.softmax(scores / query.shape[-1] ** 0.5, axis=-1)
    weights = keras.ops.convert_to_numpy(weights)[:, :, 1:]
    return weights.reshape(*weights.shape[:2], *encoder.grid_size)


def attention_figure(images, attention, rgb, max_heads=6, title=""):
    """Draws images above the attention of the class token.

    Args:
        images: float array of shape (batch, height, width, channels).
        attention: array as `class_token_attention` gives it.
        rgb: callable. Maps images to RGB images, as `rgb_function` gives it.
        max_heads: int. Heads that get a row of their own, below the mean of
            all. Defaults to `6`.
        title: str. Stands above the grid.

    Returns:
        A matplotlib figure, one column per image. All heat maps have one scale,
        from 0 to the 99th percentile, so that even attention looks even.

    Example:

    >>> encoder = keras_clmae.models.ViTEncoder((8, 12, 1), 4, 16, 2, 2)
    >>> images = np.random.normal(size=(5, 8, 12, 1)).astype("float32")
    >>> figure = keras_clmae.visualization.attention_figure(
    ...     images,
    ...     keras_clmae.visualization.class_token_attention(encoder, images),
    ...     keras_clmae.visualization.rgb_function(images),
    ... )
    >>> len(figure.axes[0].images)
    20
    """
    heads = min(attention.shape[1], max_heads)
    maps = {"mean of heads": attention.mean(axis=1)}
    maps.update(
        {f"head {head + 1}": attention[:, head] for head in range(heads)}
    )
    figure, panels = panel_grid(
        ["image", *maps],
        len(images),
        images.shape[2] / images.shape[1],
        title,
        right=0.85,
    )
    largest = np.percentile(list(maps.values()), 99)
    for index, column in enumerate(panels.T):
        column[0].show(rgb(images[index]))
        for panel, heat_map in zip(column[1:], maps.values(), strict=True):
            drawn = panel.show(
                heat_map[index], vmin=0, vmax=largest, cmap="inferno"
            )
    bar = scale_beside(figure, drawn, panels[:, -1], extend="max")
    # Share of every token if attention had no preference.
    even = 1 / (attention[0, 0].size + 1)
    bar.ax.axhline(even, color="white", linewidth=1.5)
    bar.set_label(f"attention (white line: even, {even:.2g})", fontsize=8)
    return figure
