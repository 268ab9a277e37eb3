"""Make models by the names of their sizes, and store them as presets."""

import os
import tempfile

import keras

from keras_clmae.models.exporting import ServingExportMixin
from keras_clmae.saving.atomic_write import atomic_folder
from keras_clmae.saving.keras_files import load_keras_model
from keras_clmae.saving.preset_files import write_preset
from keras_clmae.saving.preset_hub import download_preset
from keras_clmae.saving.preset_hub import is_handle
from keras_clmae.saving.preset_hub import upload_preset
from keras_clmae.saving.pretrained import find_pretrained
from keras_clmae.saving.pretrained import pretrained_names

# Encoders: table 1 of https://arxiv.org/abs/2010.11929 (base, large, huge) and
# table 1 of https://arxiv.org/abs/2012.12877 (tiny, small). Decoders of base,
# large and huge: appendix A.2 of https://arxiv.org/abs/2111.06377. The smaller
# decoders and the micro encoder are ours: a decoder should be narrower than its
# encoder, and micro trains on a CPU.
_ENCODERS = {
    "micro": {"hidden_dim": 96, "num_layers": 4, "num_heads": 4},
    "tiny": {"hidden_dim": 192, "num_layers": 12, "num_heads": 3},
    "small": {"hidden_dim": 384, "num_layers": 12, "num_heads": 6},
    "base": {"hidden_dim": 768, "num_layers": 12, "num_heads": 12},
    "large": {"hidden_dim": 1024, "num_layers": 24, "num_heads": 16},
    "huge": {"hidden_dim": 1280, "num_layers": 32, "num_heads": 16},
}
_PUBLISHED_DECODER = {"hidden_dim": 512, "num_layers": 8, "num_heads": 16}
_DECODERS = {
    "micro": {"hidden_dim": 64, "num_layers": 2, "num_heads": 4},
    "tiny": {"hidden_dim": 128, "num_layers": 4, "num_heads": 4},
    "small": {"hidden_dim": 256, "num_layers": 4, "num_heads": 8},
    "base": _PUBLISHED_DECODER,
    "large": _PUBLISHED_DECODER,
    "huge": _PUBLISHED_DECODER,
}
# (size, patch size, side of the image in pixels).
_SHAPES = (
    ("tiny", 4, 32),
    ("micro", 4, 32),
    ("tiny", 16, 224),
    ("small", 16, 224),
    ("base", 16, 224),
    ("base", 8, 224),
    ("large", 16, 224),
    ("huge", 14, 224),
)


def _sizes(size, patch_size, side):
    decoder = {f"decoder_{k}": v for k, v in _DECODERS[size].items()}
    return {
        "image_shape": (side, side, 3),
        "patch_size": patch_size,
        **_ENCODERS[size],
        **decoder,
    }


PRESETS = {
    f"{size}_patch{patch_size}_{side}": _sizes(size, patch_size, side)
    for size, patch_size, side in _SHAPES
}


class PresetModel(ServingExportMixin, keras.Model):
    """A model that can be made by the name of a size and stored as a folder.

    Subclasses set `preset_prefix` and define `from_sizes(**sizes)` unless their
    constructor takes the sizes as they are.
    """

    preset_prefix = ""

    @classmethod
    def preset_names(cls):
        """Lists the names that `from_preset` knows.

        Returns:
            A list of str: the named sizes, and the pretrained models that come
            with the package.

        Example:

        >>> keras_clmae.models.CLMAE.preset_names()[0]
        'clmae_tiny_patch4_32'
        """
        sizes = [cls.preset_prefix + name for name in PRESETS]
        return [*sizes, *pretrained_names(cls.preset_prefix)]

    @classmethod
    def from_sizes(cls, **sizes):
        """Makes the model from the sizes of encoder and decoder.

        Args:
            **sizes: Arguments of the constructor; sizes of the decoder
                (`decoder_...`) are left out.

        Returns:
            An instance of the class.
        """
        return cls(
            **{k: v for k, v in sizes.items() if not k.startswith("decoder_")}
        )

    @classmethod
    def from_preset(cls, preset, load_weights=True, **overrides):
        """Makes the model from the name of a size, a folder, or a hub.

        Args:
            preset: str. One of `preset_names()`, with or without the prefix of
                the class (`"tiny_patch4_32"`); a folder that `save_to_preset`
                wrote; where it uploaded one: `hf://USER/MODEL`, with or
                without `@REVISION`, or
                `kaggle://OWNER/MODEL/FRAMEWORK/VARIATION`
                (`pip install keras-clmae[hub]`). An encoder is also taken out
                of a stored `CLMAE` or `MaskedAutoencoder`.
            load_weights: bool. Whether weights are loaded. The named sizes
                have none: pass `False` there. Defaults to `True`.
            **overrides: Sizes that replace those of the named size, such as
                `image_shape=(64, 64, 1)` or `decoder_num_layers=2`.

        Returns:
            An instance of the class.

        Raises:
            ValueError: If the name is unknown, or weights are asked for where
                there are none.

        Example:

        >>> encoder = keras_clmae.models.ViTEncoder.from_preset(
        ...     "vit_tiny_patch4_32", load_weights=False, num_layers=2
        ... )
        >>> encoder.hidden_dim
        192
        """
        if is_handle(preset):
            preset = download_preset(preset)
        elif not os.path.isdir(preset):
            preset = find_pretrained(preset) or preset
        if os.path.isdir(preset):
            return cls._from_folder(preset, load_weights, overrides)
        name = preset.removeprefix(cls.preset_prefix)
        if name not in PRESETS:
            raise ValueError(
                "`preset` must be a folder, an hf:// or kaggle:// handle or "
                f"one of {', '.join(cls.preset_names())}. "
                f"Received: preset={preset!r}"
            )
        if load_weights:
            raise ValueError(
                f"No weights are published for {preset!r}: pass "
                "`load_weights=False` to start from random ones, or take one "
                f"of {', '.join(pretrained_names(cls.preset_prefix))}."
            )
        return cls.from_sizes(**{**PRESETS[name], **overrides})

    @classmethod
    def _from_folder(cls, folder, load_weights, overrides):
        if overrides:
            raise ValueError(
                "`overrides` apply to named sizes only, not to stored models. "
                f"Received: {', '.join(overrides)} for preset={folder!r}"
            )
        model = load_keras_model(folder, load_weights)
        for part in (model, getattr(model, "encoder", None)):
            if isinstance(part, cls):
                return part
        raise ValueError(
            f"`preset` holds a {type(model).__name__}, not a {cls.__name__}. "
            f"Received: preset={folder!r}"
        )

    def save_to_preset(self, preset):
        """Writes config.json, model.weights.h5 and metadata.json.

        Args:
            preset: str. Path of a folder, made if it does not exist; or an
                `hf://` or `kaggle://` handle, to which the three files are
                uploaded (`pip install keras-clmae[hub]`).

        Raises:
            ValueError: If a part of the model, such as its masking module, is
                made of layers of Keras by its configuration (a
                `keras.Sequential`), or is not registered: `from_preset` would
                refuse it. Make it a registered class of your own.

        Example:

        >>> encoder = keras_clmae.models.ViTEncoder((8, 8, 1), 2, 16, 2, 2)
        >>> folder = tempfile.mkdtemp()
        >>> encoder.save_to_preset(folder)
        >>> sorted(os.listdir(folder))
        ['config.json', 'metadata.json', 'model.weights.h5']
        """
        if is_handle(preset):
            with tempfile.TemporaryDirectory() as folder:
                write_preset(self, folder)
                upload_preset(preset, folder)
            return
        with atomic_folder(preset) as folder:
            write_preset(self, folder)


class HeadedPresetModel(PresetModel):
    """A model of an encoder and a head, which a stored encoder can start.

    `from_preset` of a folder gives the stored model, or, of a folder with
    another model, a new head on its encoder.
    """

    @classmethod
    def _from_folder(cls, folder, load_weights, overrides):
        model = load_keras_model(folder, load_weights)
        if not isinstance(model, cls):
            return cls(getattr(model, "encoder", model), **overrides)
        if overrides:
            raise ValueError(
                "`overrides` apply to a new head on a stored encoder, not to a "
                f"stored {cls.__name__}. Received: {', '.join(overrides)} for "
                f"preset={folder!r}"
            )
        return model
