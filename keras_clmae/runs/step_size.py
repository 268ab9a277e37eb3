"""Count parameters, work and memory of a training step from the sizes."""

import dataclasses

from keras_clmae.models import MaskingModule
from keras_clmae.models.presets import PRESETS

# AdamW in float32: weights, gradients and two moments.
STATE_BYTES = 16
# Numbers that a block keeps for its backward pass, for each token and unit of
# its width, with a fused attention kernel and no dropout: the count of section
# 4.1 of https://arxiv.org/abs/2205.05198 without its dropout masks.
KEPT = 16
# Without gradients of the weights the inputs of the linear layers are not kept:
# two inputs of normalizations, q, k, v, the attended values, the MLP before its
# activation.
KEPT_FROZEN = 10
# With `gradient_checkpointing`: the input.
KEPT_CHECKPOINTED = 1


@dataclasses.dataclass
class StepSize:
    """Parameters, work and memory of one training step of CL-MAE.

    Attributes:
        autoencoder_parameters: int. Trainable ones.
        masking_parameters: int. Trainable ones.
        flop_per_image: float. Of matrix products, both phases.
        autoencoder_flop: float. Those of the autoencoder's phase alone, which
            is plain MAE's step.
        tokens: int. Patches of an image.
        bytes_per_image: dict from `(gradient_checkpointing, bytes of a number)`
            to the bytes that the larger phase keeps for its backward pass.
    """

    autoencoder_parameters: int
    masking_parameters: int
    flop_per_image: float
    autoencoder_flop: float
    tokens: int
    bytes_per_image: dict


def step_size(preset=None, **overrides):
    """Computes the `StepSize` of a preset, or of given sizes.

    Args:
        preset: name of a size without prefix, or `None`.
        **overrides: sizes that replace those of the preset.
    """
    sizes = {**(PRESETS[preset] if preset else {}), **overrides}
    height, width, channels = sizes["image_shape"]
    patch_dim = sizes["patch_size"] ** 2 * channels
    tokens = height * width // sizes["patch_size"] ** 2
    visible = int(tokens * (1 - sizes.get("mask_ratio", 0.75)))
    dim, layers = sizes["hidden_dim"], sizes["num_layers"]
    decoder_dim = sizes["decoder_hidden_dim"]
    decoder_layers = sizes["decoder_num_layers"]
    masking_layers = MaskingModule().num_layers
    encoder = layers * _block_parameters(dim) + patch_dim * dim + 4 * dim
    decoder = (
        decoder_layers * _block_parameters(decoder_dim)
        + dim * decoder_dim
        + 4 * decoder_dim
        + decoder_dim * patch_dim
        + patch_dim
    )
    masking = (
        masking_layers * _block_parameters(dim)
        + 3 * dim
        + dim * tokens
        + tokens
    )
    # Last blocks compute what is read: the class token, the removed patches.
    masking_module = (masking_layers - 1) * _block_flop(dim, tokens + 1)
    masking_module += _block_flop(dim, tokens + 1, queries=1)
    inner = (decoder_layers - 1) * _block_flop(decoder_dim, tokens + 1)
    masking_phase = layers * _block_flop(dim, tokens + 1) + inner
    masking_phase += _block_flop(decoder_dim, tokens + 1, queries=tokens)
    autoencoder_phase = layers * _block_flop(dim, visible + 1) + inner
    autoencoder_phase += _block_flop(
        decoder_dim, tokens + 1, queries=tokens - visible
    )
    # Forward once, backward once more for the weights and once for the inputs.
    # The autoencoder is frozen in the masking phase: inputs only.
    flop = 3 * autoencoder_phase + masking_module
    flop += 3 * masking_module + 2 * masking_phase

    def kept(per_block, per_masking_block):
        units = layers * dim + decoder_layers * decoder_dim
        return (tokens + 1) * (
            per_block * units + per_masking_block * masking_layers * dim
        )

    def kept_by_autoencoder(per_block):
        return per_block * (
            layers * dim * (visible + 1)
            + decoder_layers * decoder_dim * (tokens + 1)
        )

    def largest_block():
        return KEPT * max(dim, decoder_dim) * (tokens + 1)

    plain = max(kept(KEPT_FROZEN, KEPT), kept_by_autoencoder(KEPT))
    checkpointed = largest_block() + max(
        kept(KEPT_CHECKPOINTED, KEPT_CHECKPOINTED),
        kept_by_autoencoder(KEPT_CHECKPOINTED),
    )
    return StepSize(
        encoder + decoder,
        masking,
        flop,
        3 * autoencoder_phase,
        tokens,
        {
            (on, size): size * numbers
            for on, numbers in ((False, plain), (True, checkpointed))
            for size in (2, 4)
        },
    )


def _block_parameters(dim):
    # Attention 4 dim**2 + 4 dim, MLP 8 dim**2 + 5 dim, two norms 4 dim.
    return 12 * dim**2 + 13 * dim


def _block_flop(dim, tokens, queries=None):
    # A multiplication and an addition are two. Keys and values of all tokens;
    # query, projection and MLP of those that are computed.
    queries = tokens if queries is None else queries
    return (4 * tokens + 20 * queries) * dim**2 + 4 * queries * tokens * dim
