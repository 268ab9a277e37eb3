"""Train a masked autoencoder and the module that masks for it in turn."""

import keras

from keras_clmae.batches import unpack_batch
from keras_clmae.maskers.masking_module import MaskingModule
from keras_clmae.models.clmae_losses import CLMAELosses
from keras_clmae.models.masked_autoencoder import MaskedAutoencoder
from keras_clmae.models.masked_autoencoder import build_masker
from keras_clmae.models.presets import PresetModel
from keras_clmae.objectives.curriculum_objective import CurriculumObjective
from keras_clmae.objectives.masking_objective import MaskingObjective
from keras_clmae.random_state import RandomStateMixin
from keras_clmae.trainers import CLMAETrainer

_LOSS_WEIGHTS = tuple(CurriculumObjective().get_config())


@keras.saving.register_keras_serializable(package="keras_clmae")
class CLMAE(RandomStateMixin, CLMAELosses, CLMAETrainer, PresetModel):
    """Curriculum-learned masked autoencoder (CL-MAE).

    A masked autoencoder and a masking module that learns which patches to hide
    are trained in turn. The masking module's reconstruction loss is multiplied
    by a curriculum factor that falls from +1 (a partner) to -1 (an adversary).
    After https://arxiv.org/abs/2308.16572.

    The two losses are in `CLMAELosses`; gradients and updates are those of the
    trainer for the backend. `fit` takes images, or (images, labels) of which
    the labels are ignored.

    Args:
        autoencoder: `MaskedAutoencoder`.
        masking_module: `keras.layers.Layer`. Maps tokens (batch, tokens,
            hidden_dim) to `keep_scores` (batch, tokens); with the default
            objective in (0, 1). Defaults to the `MaskingModule` that the
            objective asks for, the paper's, with the encoder's
            `gradient_checkpointing`.
        gaussian_loss_weight: float. Short for
            `objective=CurriculumObjective(gaussian_loss_weight=...)`; so are
            the next two. Defaults to `None`: the objective's.
        kl_loss_weight: float. Defaults to `None`: the objective's.
        diversity_loss_weight: float. Defaults to `None`: the objective's.
        objective: `MaskingObjective`, what the masking module is trained by.
            Defaults to `CurriculumObjective()`, as published.

    Call arguments:
        images: float tensor of shape (batch, height, width, channels).
        training: bool. Only matters with the encoder's `drop_path_rate`.

    Returns:
        A dict: `keep_scores` (batch, tokens), `mask` (batch, tokens), 1 =
        removed, `removed_indices` (batch, removed) and `prediction` (batch,
        removed, patch_dim).

    Raises:
        ValueError: If the parts do not fit each other.

    Example:

    >>> model = keras_clmae.models.CLMAE.from_sizes(
    ...     masking_module=keras_clmae.models.MaskingModule(1, 2),
    ...     image_shape=(8, 8, 3), patch_size=2,
    ...     hidden_dim=16, num_layers=1, num_heads=2,
    ...     decoder_hidden_dim=16, decoder_num_layers=1, decoder_num_heads=2,
    ... )
    >>> model.compile(
    ...     keras_clmae.optimizers.AdamW(1e-3, weight_decay=0.05),
    ...     curriculum=keras_clmae.LinearCurriculum(total_steps=100),
    ... )
    >>> images = np.random.normal(size=(8, 8, 8, 3)).astype("float32")
    >>> history = model.fit(images, batch_size=4, epochs=1, verbose=0)
    >>> model.encoder(images).shape
    (8, 17, 16)
    """

    preset_prefix = "clmae_"

    def __init__(
        self,
        autoencoder,
        masking_module=None,
        gaussian_loss_weight=None,
        kl_loss_weight=None,
        diversity_loss_weight=None,
        objective=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if not isinstance(autoencoder, MaskedAutoencoder):
            raise ValueError(
                "`autoencoder` must be a MaskedAutoencoder. "
                f"Received: autoencoder={autoencoder!r}"
            )
        given = (gaussian_loss_weight, kl_loss_weight, diversity_loss_weight)
        weights = {
            name: weight
            for name, weight in zip(_LOSS_WEIGHTS, given, strict=True)
            if weight is not None
        }
        if objective is None:
            objective = CurriculumObjective(**weights)
        elif weights:
            raise ValueError(
                "`objective` and loss weights exclude each other: give the "
                f"weights to the objective. Received: objective={objective!r}, "
                f"{', '.join(weights)}"
            )
        if not isinstance(objective, MaskingObjective):
            raise ValueError(
                "`objective` must be a MaskingObjective. "
                f"Received: objective={objective!r}"
            )
        self.autoencoder = autoencoder
        self.objective = objective
        # Saved with the model, where the objective draws.
        self.seed_generator = objective.seed_generator
        if masking_module is None:
            masking_module = MaskingModule(
                **objective.default_masker_arguments,
                gradient_checkpointing=(
                    autoencoder.encoder.gradient_checkpointing
                ),
                name="masking_module",
                dtype=autoencoder.dtype_policy,
            )
        objective.check_masker(masking_module)
        self.masking_module = masking_module
        self.build((None, *autoencoder.image_shape))

    @classmethod
    def from_sizes(
        cls,
        masking_module=None,
        gaussian_loss_weight=None,
        kl_loss_weight=None,
        diversity_loss_weight=None,
        objective=None,
        **autoencoder_sizes,
    ):
        """Makes the model with a new autoencoder, from its sizes.

        Args:
            masking_module: `keras.layers.Layer`. Maps tokens to `keep_scores`.
                Defaults to `None`: the `MaskingModule` that the objective asks
                for, of the encoder's width.
            gaussian_loss_weight: float. Weight of the term that drives scores
                to 0 or 1. Defaults to `None`: 1.0.
            kl_loss_weight: float. Weight of the term that keeps the mean score
                at the share of visible tokens. Defaults to `None`: 25.6.
            diversity_loss_weight: float. Weight of the term that keeps masks
                of different images apart. Defaults to `None`: 2.0.
            objective: `MaskingObjective`, in place of the three weights.
                Defaults to `None`: `CurriculumObjective`, as published.
            **autoencoder_sizes: Arguments of `MaskedAutoencoder.from_sizes`.
                Required are `image_shape`, a tuple (height, width, channels);
                `patch_size`, in pixels; `hidden_dim`, `num_layers` and
                `num_heads` of the encoder; and `decoder_hidden_dim`,
                `decoder_num_layers` and `decoder_num_heads`. Among the others
                are `mask_ratio`, 0.75 by default, `normalize_targets` and
                `dtype`.

        Returns:
            A `CLMAE`, not compiled.

        Raises:
            ValueError: If a size is not positive or the sizes do not fit each
                other, or both `objective` and loss weights are given.

        Example:

        >>> model = keras_clmae.models.CLMAE.from_sizes(
        ...     image_shape=(8, 8, 1), patch_size=2, hidden_dim=16,
        ...     num_layers=1, num_heads=4, decoder_hidden_dim=16,
        ...     decoder_num_layers=1, decoder_num_heads=2,
        ... )
        >>> model.keep_scores(np.zeros((2, 8, 8, 1), "float32")).shape
        (2, 16)
        """
        return cls(
            MaskedAutoencoder.from_sizes(
                **autoencoder_sizes, name="autoencoder"
            ),
            masking_module,
            gaussian_loss_weight=gaussian_loss_weight,
            kl_loss_weight=kl_loss_weight,
            diversity_loss_weight=diversity_loss_weight,
            objective=objective,
        )

    @property
    def encoder(self):
        """The `ViTEncoder`, the part that is kept after pretraining."""
        return self.autoencoder.encoder

    @property
    def image_shape(self):
        """(height, width, channels), in pixels."""
        return self.autoencoder.image_shape

    @property
    def autoencoder_variables(self):
        """Trainable variables of the first player."""
        return self.autoencoder.trainable_variables

    @property
    def masking_variables(self):
        """Trainable variables of the second player."""
        return self.masking_module.trainable_variables

    def build(self, input_shape):
        if self.built:
            return
        if not self.masking_module.built:
            build_masker(self.masking_module, self.encoder)
        self.built = True

    def call(self, images, training=None):
        images, _ = unpack_batch(images)
        scores = self.keep_scores(images)
        outputs = self.autoencoder(
            images, keep_scores=scores, training=training
        )
        return {"keep_scores": scores, **outputs}

    def reconstruct(self, images):
        """Reconstructs whole images under their learned masks, for figures.

        Args:
            images: float tensor of shape (batch, height, width, channels).

        Returns:
            The dict of `MaskedAutoencoder.reconstruct`, and `keep_scores`.
        """
        scores = self.keep_scores(images)
        return {
            "keep_scores": scores,
            **self.autoencoder.reconstruct(images, scores),
        }

    def get_config(self):
        serialize = keras.saving.serialize_keras_object
        config = {
            **super().get_config(),
            "autoencoder": serialize(self.autoencoder),
            "masking_module": serialize(self.masking_module),
            **dict.fromkeys(_LOSS_WEIGHTS),
            "objective": None,
        }
        # The paper's objective stands in a configuration by its weights.
        if type(self.objective) is CurriculumObjective:
            return {**config, **self.objective.get_config()}
        return {**config, "objective": serialize(self.objective)}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        parts = {
            name: keras.saving.deserialize_keras_object(
                config[name], custom_objects=custom_objects
            )
            for name in ("autoencoder", "masking_module", "objective")
            if config.get(name) is not None
        }
        return cls(**{**config, **parts})
