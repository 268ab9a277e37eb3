"""Load encoders from runs, files, presets and foreign checkpoints."""

import os

from keras_clmae.conversion import formats
from keras_clmae.conversion.weight_map import no_place_for
from keras_clmae.file_names import RUN_MODEL
from keras_clmae.models import CLMAE
from keras_clmae.models import MaskedAutoencoder
from keras_clmae.models import ViTEncoder

MODEL_CLASSES = (CLMAE, MaskedAutoencoder, ViTEncoder)


def load_encoder(
    source, num_heads=None, decoder_num_heads=None, key=None, prefix=""
):
    """Loads the encoder of a run, a file, a preset or a checkpoint.

    Args:
        source: str. One of:

            - the folder of a finished run, which holds `model.keras`;
            - a `.keras` file of a `CLMAE`, `MaskedAutoencoder`,
              `ImageClassifier` or `ViTEncoder`;
            - a folder that `save_to_preset` wrote, an `hf://` or `kaggle://`
              handle of one, the name of a pretrained model, or the name of a
              size, whose weights are random;
            - a published checkpoint, `.pth`, or timm's `.safetensors`;
            - a folder of Hugging Face's ViT or ViTMAE, or of KerasHub's
              `ViTBackbone`; or `"hf://organization/name"`.
        num_heads: int. Of the encoder; needed for `.pth` and `.safetensors`
            files only.
        decoder_num_heads: int. Needed for `.pth` files with a decoder only.
        key: str. Which state dict of a `.pth` file is meant, such as
            `"teacher"`. Defaults to `None`: `"model"`, or the only one.
        prefix: str. Start of the names that are meant in a `.pth` or
            `.safetensors` file, such as `"backbone."`. Defaults to `""`.

    Returns:
        A `ViTEncoder`.

    Raises:
        ValueError: If there is no encoder at `source`, heads are missing, or
            the encoder there has weights that a `ViTEncoder` has no place for.

    Example:

    >>> import keras_clmae
    >>> encoder = keras_clmae.evaluation.load_encoder("vit_tiny_patch4_32")
    >>> encoder.num_layers
    12
    """
    model = load_source(source, num_heads, decoder_num_heads, key, prefix)
    return _encoder_of(model, source)


def load_source(
    source, num_heads=None, decoder_num_heads=None, key=None, prefix=""
):
    """Loads the model that `load_encoder` takes the encoder of.

    Args:
        source: As in `load_encoder`.
        num_heads: As in `load_encoder`.
        decoder_num_heads: As in `load_encoder`.
        key: As in `load_encoder`.
        prefix: As in `load_encoder`.

    Returns:
        A Keras model, whole where the source is.

    Raises:
        ValueError: As from `load_encoder`.
    """
    place = formats.local_source(source)
    for model_class in MODEL_CLASSES:
        if place in model_class.preset_names():
            return model_class.from_preset(place, load_weights=False)
    if not place.startswith("hf://") and not os.path.exists(place):
        raise _no_source(source, "which does not exist")
    try:
        source_format = formats.guess_source_format(place, key, prefix)
    except ValueError as error:
        raise _no_source(source, str(error)) from None
    model, report = formats.read_model(
        place,
        source_format,
        num_heads,
        decoder_num_heads,
        allow_missing=True,
        key=key,
        prefix=prefix,
    )
    # Only the encoder is asked for: a pooler or a decoder may be left over.
    inside = [
        name
        for name in report.left_over
        if not formats.is_outside_encoder(name)
    ]
    if inside:
        raise no_place_for(inside, source)
    if report.missing:
        raise _no_source(source, f"which lacks {report.missing[0]!r}")
    return model


def _no_source(source, problem):
    return ValueError(
        "`source` must be the folder of a finished run (with "
        f"{RUN_MODEL}), a preset's folder or name, a .keras, .pth or "
        ".safetensors file, or a folder of Hugging Face or KerasHub. Received: "
        f"source={source!r} ({problem})"
    )


def untrained_copy(encoder):
    """Makes an encoder of the same sizes with new random weights.

    Args:
        encoder: `ViTEncoder`.

    Returns:
        A `ViTEncoder`; its weights follow `keras.utils.set_random_seed`.

    Example:

    >>> import keras_clmae
    >>> encoder = keras_clmae.models.ViTEncoder((8, 8, 1), 2, 16, 2, 2)
    >>> keras_clmae.evaluation.untrained_copy(encoder).num_layers
    2
    """
    return type(encoder).from_config(encoder.get_config())


def _encoder_of(model, source):
    encoder = getattr(model, "encoder", model)
    if not isinstance(encoder, ViTEncoder):
        raise ValueError(
            "`source` must hold a model with a ViTEncoder. Received: "
            f"source={source!r}, which holds {type(model).__name__}"
        )
    return encoder
