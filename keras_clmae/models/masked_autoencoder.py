"""Reconstruct removed patches: MAE, the baseline of CL-MAE."""

import keras
from keras import ops

from keras_clmae.argument_validation import check_images
from keras_clmae.batches import unpack_batch
from keras_clmae.layers.patch_embedding import patchify
from keras_clmae.layers.patch_embedding import unpatchify
from keras_clmae.layers.token_selection import gather_tokens
from keras_clmae.layers.token_selection import keep_top_tokens
from keras_clmae.losses.reconstruction import normalize_patches
from keras_clmae.losses.reconstruction import patch_errors
from keras_clmae.losses.reconstruction import patch_statistics
from keras_clmae.maskers.random_masker import RandomMasker
from keras_clmae.models.decoder import Decoder
from keras_clmae.models.encoder import ViTEncoder
from keras_clmae.models.presets import PresetModel
from keras_clmae.trainers import MAETrainer


@keras.saving.register_keras_serializable(package="keras_clmae")
class MaskedAutoencoder(MAETrainer, PresetModel):
    """MAE: reconstructs removed patches. The baseline of CL-MAE.

    After https://arxiv.org/abs/2111.06377. It trains with plain Keras:
    `compile(optimizer)` without a loss, then `fit(images)`.

    Args:
        encoder: `ViTEncoder`.
        decoder: `Decoder` of the encoder's grid and patches.
        mask_ratio: float in (0, 1). Share of removed tokens;
            `int(tokens * (1 - mask_ratio))` stay visible. Defaults to `0.75`.
        normalize_targets: bool. Whether each target patch is standardized with
            its own mean and variance (MAE's "norm pix" loss). Defaults to
            `False`.
        seed: int. Seed of the random masks, where no `masker` is given.
            Defaults to `None`: drawn.
        masker: `keras.layers.Layer`. Maps tokens (batch, tokens, hidden_dim) to
            `keep_scores` (batch, tokens), such as those of
            `keras_clmae.maskers`. Defaults to `RandomMasker(seed)`, as
            published.

    Call arguments:
        images: float tensor of shape (batch, height, width, channels).
        keep_scores: float tensor of shape (batch, tokens). The tokens with the
            highest scores stay visible. The masker's by default.
        training: bool. Only matters with the encoder's `drop_path_rate`.

    Returns:
        A dict: `prediction` (batch, removed, patch_dim), `removed_indices`
        (batch, removed) and `mask` (batch, tokens), 1 = removed, 0 = visible.

    Raises:
        ValueError: If the parts do not fit each other, or an argument is out of
            its range.

    Example:

    >>> model = keras_clmae.models.MaskedAutoencoder.from_sizes(
    ...     image_shape=(32, 32, 3), patch_size=8, hidden_dim=32, num_layers=2,
    ...     num_heads=2, decoder_hidden_dim=16, decoder_num_layers=2,
    ...     decoder_num_heads=2,
    ... )
    >>> model.compile("adam")
    >>> history = model.fit(np.zeros((4, 32, 32, 3), "float32"), verbose=0)
    >>> sorted(history.history)
    ['loss']
    """

    preset_prefix = "mae_"

    def __init__(
        self,
        encoder,
        decoder,
        mask_ratio=0.75,
        normalize_targets=False,
        seed=None,
        masker=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        _check_parts(encoder, decoder)
        self.encoder = encoder
        self.decoder = decoder
        self.mask_ratio = mask_ratio
        self.normalize_targets = normalize_targets
        self.seed = seed
        self.num_visible = _num_visible(encoder.num_tokens, mask_ratio)
        if masker is not None and seed is not None:
            raise ValueError(
                "`seed` is that of the default masker: give it to `masker`. "
                f"Received: seed={seed!r}, masker={masker!r}"
            )
        self._default_masker = masker is None
        self.masker = RandomMasker(seed) if masker is None else masker
        self.build((None, *encoder.image_shape))

    @classmethod
    def from_sizes(
        cls,
        image_shape,
        patch_size,
        hidden_dim,
        num_layers,
        num_heads,
        decoder_hidden_dim,
        decoder_num_layers,
        decoder_num_heads,
        dtype=None,
        drop_path_rate=0.0,
        gradient_checkpointing=False,
        **kwargs,
    ):
        """Makes the model with a new encoder and decoder, from their sizes.

        Args:
            image_shape: tuple of int. (height, width, channels), in pixels.
            patch_size: int. Side of a patch in pixels.
            hidden_dim: int. Width of the encoder.
            num_layers: int. Blocks of the encoder.
            num_heads: int. Heads of the encoder.
            decoder_hidden_dim: int. Width of the decoder.
            decoder_num_layers: int. Blocks of the decoder.
            decoder_num_heads: int. Heads of the decoder.
            dtype: str. Dtype or policy of all parts, such as
                `"mixed_bfloat16"`. Defaults to Keras's global policy.
            drop_path_rate: float. Stochastic depth of the encoder.
            gradient_checkpointing: bool. Whether the backward pass recomputes
                the activations of the blocks to save memory.
            **kwargs: The other arguments of the class.

        Returns:
            A `MaskedAutoencoder`.
        """
        encoder = ViTEncoder(
            image_shape,
            patch_size,
            hidden_dim,
            num_layers,
            num_heads,
            drop_path_rate=drop_path_rate,
            gradient_checkpointing=gradient_checkpointing,
            dtype=dtype,
            name="encoder",
        )
        decoder = Decoder(
            encoder.grid_size,
            patch_size**2 * encoder.image_shape[-1],
            decoder_hidden_dim,
            decoder_num_layers,
            decoder_num_heads,
            gradient_checkpointing=gradient_checkpointing,
            dtype=dtype,
            name="decoder",
        )
        return cls(encoder, decoder, dtype=dtype, **kwargs)

    @property
    def image_shape(self):
        """(height, width, channels), in pixels."""
        return self.encoder.image_shape

    def build(self, input_shape):
        if self.built:
            return
        if not self.decoder.built:
            encoder = self.encoder
            self.decoder.build(
                (None, encoder.num_tokens + 1, encoder.hidden_dim)
            )
        if not self.masker.built:
            build_masker(self.masker, self.encoder)
        self.built = True

    def targets(self, images):
        """Computes the pixels that the decoder should predict, in float32.

        Args:
            images: float tensor of shape (batch, height, width, channels).

        Returns:
            Tensor of shape (batch, tokens, patch_dim).
        """
        check_images(images, self.image_shape)
        patches = patchify(ops.cast(images, "float32"), self.encoder.patch_size)
        return normalize_patches(patches) if self.normalize_targets else patches

    def predict_removed(self, tokens, selection, training=None):
        """Reconstructs the removed patches from the visible tokens.

        Args:
            tokens: tensor of shape (batch, tokens, hidden_dim), as
                `ViTEncoder.embed` gives them.
            selection: `TokenSelection` with this model's number of visible
                tokens.
            training: bool.

        Returns:
            Tensor of shape (batch, removed, patch_dim).
        """
        visible = gather_tokens(tokens, selection.keep_indices)
        latent = self.encoder.encode(visible, training=training)
        return self.decoder(
            latent, selection.restore_indices, selection.removed_indices
        )

    def removed_loss(self, images, prediction, removed_indices):
        """Computes MAE's loss: mean squared error over the removed patches.

        Args:
            images: float tensor of shape (batch, height, width, channels).
            prediction: tensor of shape (batch, removed, patch_dim).
            removed_indices: int tensor of shape (batch, removed).

        Returns:
            Scalar float32 tensor.
        """
        # Every image loses equally many patches: the mean over all is MAE's.
        return ops.mean(
            self.removed_errors(images, prediction, removed_indices)
        )

    def removed_errors(self, images, prediction, removed_indices):
        """Computes the mean squared error of every removed patch.

        Args:
            images: float tensor of shape (batch, height, width, channels).
            prediction: tensor of shape (batch, removed, patch_dim).
            removed_indices: int tensor of shape (batch, removed).

        Returns:
            float32 tensor of shape (batch, removed).
        """
        targets = gather_tokens(self.targets(images), removed_indices)
        return patch_errors(prediction, targets)

    def call(self, images, keep_scores=None, training=None):
        images, _ = unpack_batch(images)
        tokens = self.encoder.embed(images)
        if keep_scores is None:
            keep_scores = self.masker(ops.stop_gradient(tokens))
        selection = keep_top_tokens(keep_scores, self.num_visible)
        return {
            "prediction": self.predict_removed(tokens, selection, training),
            "removed_indices": selection.removed_indices,
            "mask": selection.mask,
        }

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        return self.removed_loss(
            x, y_pred["prediction"], y_pred["removed_indices"]
        )

    def reconstruct(self, images, keep_scores=None):
        """Reconstructs whole images, for figures.

        The predicted patches come back with the mean and variance of the
        patches they stand for when `normalize_targets` took these away, and the
        visible patches are the input's own.

        Args:
            images: float tensor of shape (batch, height, width, channels).
            keep_scores: float tensor of shape (batch, tokens). The masker's by
                default.

        Returns:
            A dict: `images`, the reconstruction, (batch, height, width,
            channels); `visible`, the input with removed patches set to zero, of
            the same shape; `mask` (batch, tokens), 1 = removed.
        """
        images = ops.cast(ops.convert_to_tensor(images), "float32")
        tokens = self.encoder.embed(images)
        if keep_scores is None:
            keep_scores = self.masker(tokens)
        selection = keep_top_tokens(keep_scores, self.num_visible)
        prediction = self.predict_removed(tokens, selection, training=False)
        # Each position reads the row that holds its prediction; what the
        # visible positions read is not used.
        rows = ops.maximum(selection.restore_indices - self.num_visible, 0)
        predicted = gather_tokens(ops.cast(prediction, "float32"), rows)
        patches = patchify(images, self.encoder.patch_size)
        if self.normalize_targets:
            mean, variance = patch_statistics(patches)
            predicted = predicted * ops.sqrt(variance + 1e-6) + mean
        removed = ops.expand_dims(selection.mask, -1) > 0.5
        grid_size, patch_size = self.encoder.grid_size, self.encoder.patch_size
        return {
            "images": unpatchify(
                ops.where(removed, predicted, patches), grid_size, patch_size
            ),
            "visible": unpatchify(
                ops.where(removed, 0.0, patches), grid_size, patch_size
            ),
            "mask": selection.mask,
        }

    def get_config(self):
        return {
            **super().get_config(),
            "encoder": keras.saving.serialize_keras_object(self.encoder),
            "decoder": keras.saving.serialize_keras_object(self.decoder),
            "mask_ratio": self.mask_ratio,
            "normalize_targets": self.normalize_targets,
            "seed": self.seed,
            "masker": None
            if self._default_masker
            else keras.saving.serialize_keras_object(self.masker),
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        parts = {
            name: keras.saving.deserialize_keras_object(
                config[name], custom_objects=custom_objects
            )
            for name in ("encoder", "decoder", "masker")
            # Absent in configurations from before there were maskers.
            if isinstance(config.get(name), dict)
        }
        return cls(**{**config, **parts})

    def load_own_variables(self, store):
        # It has none but in files from before there were maskers: the state of
        # the draws.
        if "seed_generator_state" in store and self._default_masker:
            self.masker.load_own_variables(store)


def build_masker(masker, encoder):
    """Builds a masker for the tokens of an encoder.

    Args:
        masker: `keras.layers.Layer`. Maps tokens to scores.
        encoder: `ViTEncoder`.

    Raises:
        ValueError: If it does not fit.
    """
    # Tokens carry no grid.
    if hasattr(masker, "set_grid"):
        masker.set_grid(encoder.grid_size)
    masker.build((None, encoder.num_tokens, encoder.hidden_dim))
    masker.built = True


def _check_parts(encoder, decoder):
    if not isinstance(encoder, ViTEncoder):
        raise ValueError(
            f"`encoder` must be a ViTEncoder. Received: encoder={encoder!r}"
        )
    expected = (
        encoder.grid_size,
        encoder.patch_size**2 * encoder.image_shape[-1],
    )
    received = (
        getattr(decoder, "grid_size", None),
        getattr(decoder, "patch_dim", None),
    )
    if expected != received:
        raise ValueError(
            "`decoder` must have the encoder's grid_size and patch_dim, "
            f"{expected}. Received: {received}"
        )


def _num_visible(num_tokens, mask_ratio):
    if (
        isinstance(mask_ratio, bool)
        or not isinstance(mask_ratio, (int, float))
        or not 0.0 < mask_ratio < 1.0
    ):
        raise ValueError(
            "`mask_ratio` must be a number in (0, 1). "
            f"Received: mask_ratio={mask_ratio!r}"
        )
    num_visible = int(num_tokens * (1 - mask_ratio))
    if not 0 < num_visible < num_tokens:
        raise ValueError(
            "`mask_ratio` must leave at least one visible and one removed "
            f"token. Received: mask_ratio={mask_ratio}, which leaves "
            f"{num_visible} visible of {num_tokens} tokens"
        )
    return num_visible
