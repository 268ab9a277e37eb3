"""Pool tokens to one vector per image."""

from keras import ops

POOLINGS = ("mean", "class_token", "mean_before_norm")


def check_pooling(pooling):
    """Refuses a `pooling` that is not in `POOLINGS`.

    Raises:
        ValueError: If it is none of them.
    """
    if pooling not in POOLINGS:
        raise ValueError(
            f"`pooling` must be one of {POOLINGS}. Received: "
            f"pooling={pooling!r}"
        )


def pool_tokens(encoder, images, pooling, training=False):
    """Pools the tokens of images to one vector per image.

    Args:
        encoder: `ViTEncoder`.
        images: float tensor of shape `(batch, height, width, channels)`.
        pooling: str. `"mean"`: mean of the patch tokens after the final norm;
            `"class_token"`: the class token after the final norm;
            `"mean_before_norm"`: mean of the patch tokens before the final
            norm, as MAE's fine-tuning pools.
        training: bool. Whether drop path is on. Defaults to `False`.

    Returns:
        Float32 tensor of shape `(batch, hidden_dim)`.
    """
    tokens = encoder(
        images, training=training, normalize=pooling != "mean_before_norm"
    )
    tokens = ops.cast(tokens, "float32")
    if pooling == "class_token":
        return tokens[:, 0]
    return ops.mean(tokens[:, 1:], axis=1)
