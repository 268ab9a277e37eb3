"""Encoders from whatever a pretraining run leaves behind."""

import os

import keras

from keras_clmae.conversion import load_torch_checkpoint
from keras_clmae.models import CLMAE
from keras_clmae.models import MaskedAutoencoder
from keras_clmae.models import ViTEncoder
from keras_clmae.models.preset_hub import download_preset
from keras_clmae.models.preset_hub import is_handle
from keras_clmae.models.presets import load_preset_folder

MODEL_CLASSES = (CLMAE, MaskedAutoencoder, ViTEncoder)
RUN_MODEL = "model.keras"


def load_encoder(source, num_heads=None, decoder_num_heads=None):
    """Loads the encoder of a run, a file, a preset or a checkpoint.

    Args:
        source: str. One of:

            - the folder of a finished run, which holds `model.keras`;
            - a `.keras` file of a `CLMAE`, `MaskedAutoencoder`,
              `ImageClassifier` or `ViTEncoder`;
            - a folder that `save_to_preset` wrote, an `hf://` or `kaggle://`
              handle of one, or a preset's name (whose weights are random, as
              none are published);
            - a published checkpoint, `.pth`.
        num_heads: int. Of the encoder; needed for `.pth` files only.
        decoder_num_heads: int. Needed for `.pth` files only.

    Returns:
        A `ViTEncoder`.

    Raises:
        ValueError: If there is no encoder at `source`, or heads are missing.

    Example:

    >>> import keras_clmae
    >>> encoder = keras_clmae.evaluation.load_encoder("vit_tiny_patch4_32")
    >>> encoder.num_layers
    12
    """
    for model_class in MODEL_CLASSES:
        if source in model_class.preset_names():
            model = model_class.from_preset(source, load_weights=False)
            return _encoder_of(model, source)
    if is_handle(source):
        source = download_preset(source)
    if os.path.isfile(os.path.join(source, RUN_MODEL)):
        source = os.path.join(source, RUN_MODEL)
    if os.path.isfile(os.path.join(source, "config.json")):
        return _encoder_of(load_preset_folder(source), source)
    if not os.path.isfile(source) or not source.endswith((".keras", ".pth")):
        raise ValueError(
            "Argument `source` must be the folder of a finished run (with "
            f"{RUN_MODEL}), a preset's folder or name, a .keras file or a .pth "
            f"file. Received: source={source!r}"
        )
    if source.endswith(".keras"):
        model = keras.saving.load_model(source, compile=False)
        return _encoder_of(model, source)
    if num_heads is None or decoder_num_heads is None:
        raise ValueError(
            "Arguments `num_heads` and `decoder_num_heads` must be given for a "
            ".pth file, which does not hold them. Received: "
            f"num_heads={num_heads}, decoder_num_heads={decoder_num_heads}"
        )
    model = load_torch_checkpoint(
        source, num_heads=num_heads, decoder_num_heads=decoder_num_heads
    )
    return _encoder_of(model, source)


def untrained_copy(encoder):
    """An encoder of the same sizes with new random weights.

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
            "Argument `source` must hold a model with a ViTEncoder. Received: "
            f"source={source!r}, which holds {type(model).__name__}"
        )
    return encoder
