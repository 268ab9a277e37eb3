"""Train a masked autoencoder and the module that masks for it in turn."""

import keras
from keras import ops

from keras_clmae.distribution.replicas import global_batch
from keras_clmae.distribution.replicas import split_rows
from keras_clmae.distribution.replicas import uniform_rows
from keras_clmae.layers.token_selection import keep_top_tokens
from keras_clmae.layers.token_selection import mask_overlap
from keras_clmae.maskers.masking_module import MaskingModule
from keras_clmae.models.masked_autoencoder import MaskedAutoencoder
from keras_clmae.models.masked_autoencoder import build_masker
from keras_clmae.models.presets import PresetModel
from keras_clmae.objectives.curriculum_objective import CurriculumObjective
from keras_clmae.objectives.masking_objective import MaskingObjective
from keras_clmae.objectives.masking_objective import RemovedErrors
from keras_clmae.random_state import RandomStateMixin
from keras_clmae.trainers import CLMAETrainer

# Of a model that is not compiled, where an objective asks: the curriculum's
# end, where the masks are hard.
_FACTOR_WITHOUT_CURRICULUM = -1.0
_LOSS_WEIGHTS = tuple(CurriculumObjective().get_config())


@keras.saving.register_keras_serializable(package="keras_clmae")
class CLMAE(RandomStateMixin, CLMAETrainer, PresetModel):
    """Curriculum-learned masked autoencoder (CL-MAE).

    A masked autoencoder and a masking module that learns which patches to hide
    are trained in turn. The masking module's reconstruction loss is multiplied
    by a curriculum factor that falls from +1 (a partner) to -1 (an adversary).
    After https://arxiv.org/abs/2308.16572.

    This class holds the two losses; gradients and updates are the trainer's,
    chosen by the backend. `fit` takes images, or (images, labels) of which the
    labels are ignored.

    Args:
        autoencoder: `MaskedAutoencoder`.
        masking_module: `keras.layers.Layer`. Maps tokens (batch, tokens,
            hidden_dim) to `keep_scores` (batch, tokens); with the default
            objective in (0, 1). Defaults to the `MaskingModule` that the
            objective asks for, the paper's, with the encoder's
            `gradient_checkpointing`.
        gaussian_loss_weight: float. Short for
            `objective=CurriculumObjective(gaussian_loss_weight=...)`, as the
            next two are. Defaults to `None`: the objective's.
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
        """Makes the autoencoder too, from its sizes.

        Args:
            masking_module: see the class.
            gaussian_loss_weight: see the class.
            kl_loss_weight: see the class.
            diversity_loss_weight: see the class.
            objective: see the class.
            **autoencoder_sizes: Arguments of `MaskedAutoencoder.from_sizes`:
                `image_shape`, `patch_size`, `hidden_dim`, `num_layers`,
                `num_heads`, `decoder_hidden_dim`, `decoder_num_layers`,
                `decoder_num_heads`, `mask_ratio` and so on.

        Returns:
            A `CLMAE`.

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
        """The `ViTEncoder`: what is kept after pretraining."""
        return self.autoencoder.encoder

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

    def present_factor(self):
        """The curriculum factor that learned masks have at present.

        Returns:
            Scalar: that of the present step; of a model that is not compiled,
            -1, the end of the curriculum.
        """
        if getattr(self, "curriculum", None) is None:
            return _FACTOR_WITHOUT_CURRICULUM
        return self.curriculum_factor()

    def keep_scores(self, images):
        """The scores that choose the visible tokens, without any noise.

        With the paper's objective the masking module's own.

        Args:
            images: float tensor of shape (batch, height, width, channels).

        Returns:
            float32 tensor of shape (batch, tokens), high = stays visible.
        """
        return self._selection_scores(self.encoder.embed(images))

    def _selection_scores(self, tokens):
        return self.objective.selection_scores(
            self.masking_module(tokens), self.present_factor(), training=False
        )

    def call(self, images, training=None):
        scores = self.keep_scores(images)
        outputs = self.autoencoder(
            images, keep_scores=scores, training=training
        )
        return {"keep_scores": scores, **outputs}

    def reconstruct(self, images):
        """Reconstructs images under their learned masks, to look at.

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

    # === The two losses ===

    def autoencoder_loss(
        self, images, keep_scores=None, curriculum_factor=None, num_drawn=0
    ):
        """The autoencoder's loss under the learned masks.

        No gradient reaches the masking module. On several devices it is the
        mean over the images of one; the trainer averages over the devices.

        Args:
            images: float tensor of shape (batch, height, width, channels).
            keep_scores: float tensor of shape (batch - num_drawn, tokens), as
                the masking module gives them, where they are known already.
            curriculum_factor: scalar. Defaults to `None`: that of the present
                step.
            num_drawn: int. So many images, the first ones, are masked by the
                autoencoder's own masker instead. Defaults to `0`.

        Returns:
            The scalar loss, and a dict of scalars for the log.
        """
        loss, logs, _ = self._reconstruct_removed(
            images, keep_scores, curriculum_factor, num_drawn
        )
        return loss, logs

    def _reconstruct_removed(self, images, keep_scores, factor, num_drawn):
        """The autoencoder's phase: its loss, logs and `RemovedErrors`."""
        autoencoder = self.autoencoder
        tokens = self.encoder.embed(images)
        drawn, learned = self._split(ops.stop_gradient(tokens), num_drawn)
        if keep_scores is None:
            keep_scores = self.masking_module(learned)
        keep_scores = ops.stop_gradient(keep_scores)
        if factor is None:
            factor = self.present_factor()
        scores = self.objective.selection_scores(
            keep_scores, factor, training=True
        )
        if drawn is not None:
            scores = ops.concatenate([autoencoder.masker(drawn), scores])
        selection = keep_top_tokens(scores, autoencoder.num_visible)
        prediction = autoencoder.predict_removed(
            tokens, selection, training=True
        )
        errors = autoencoder.removed_errors(
            images, prediction, selection.removed_indices
        )
        loss = ops.mean(errors)
        drawn_errors, learned_errors = self._split(errors, num_drawn)
        _, learned_mask = self._split(selection.mask, num_drawn)
        logs = {
            "loss": loss,
            **self.objective.score_logs(keep_scores),
            "mask_overlap": mask_overlap(global_batch(learned_mask)),
        }
        if drawn is not None:
            logs["learned_mask_loss"] = ops.mean(learned_errors)
            # A batch of one image has none under random masks.
            count = ops.sum(ops.ones_like(drawn_errors))
            logs["random_mask_loss"] = ops.where(
                count > 0,
                ops.divide_no_nan(ops.sum(drawn_errors), count),
                loss,
            )
        _, removed_indices = self._split(selection.removed_indices, num_drawn)
        removed = RemovedErrors(
            ops.stop_gradient(learned_errors), removed_indices
        )
        return loss, logs, removed

    def _split(self, values, num_drawn):
        """What is of the images under random masks, or `None`, and the rest."""
        if self.random_mask_share == 0:
            return None, values
        return split_rows(values, num_drawn)

    def masking_loss(self, images, curriculum_factor, keep_scores=None):
        """The masking module's loss, by the objective.

        The autoencoder's weights are constants here.

        Args:
            images: float tensor of shape (batch, height, width, channels).
            curriculum_factor: scalar, from +1 (partner) to -1 (adversary).
            keep_scores: float tensor of shape (batch, tokens), where they are
                known already; the gradient passes through it.

        Returns:
            The scalar loss, and a dict of scalars for the log: the loss and the
            objective's terms, before factor and weights.
        """
        if not self.objective.needs_masking_phase:
            return self.both_losses(images, curriculum_factor)[1]
        if keep_scores is None:
            tokens = ops.stop_gradient(self.encoder.embed(images))
            keep_scores = self.masking_module(tokens)
        loss, terms = self.objective(
            self.autoencoder, images, keep_scores, curriculum_factor
        )
        return loss, {"masking_loss": loss, **terms}

    def both_losses(self, images, curriculum_factor, num_drawn=0):
        """Both losses at the same point, with the scores computed once.

        Args:
            images: float tensor of shape (batch, height, width, channels).
            curriculum_factor: scalar, from +1 (partner) to -1 (adversary).
            num_drawn: int. See `autoencoder_loss`. Defaults to `0`.

        Returns:
            What `autoencoder_loss` and `masking_loss` return.
        """
        tokens = ops.stop_gradient(self.encoder.embed(images))
        _, learned_tokens = self._split(tokens, num_drawn)
        keep_scores = self.masking_module(learned_tokens)
        loss, logs, removed = self._reconstruct_removed(
            images, keep_scores, curriculum_factor, num_drawn
        )
        _, learned = self._split(images, num_drawn)
        if self.objective.needs_masking_phase:
            removed = None
        masking_loss, terms = self.objective(
            self.autoencoder, learned, keep_scores, curriculum_factor, removed
        )
        masking_logs = {"masking_loss": masking_loss, **terms}
        return (loss, logs), (masking_loss, masking_logs)

    def validation_losses(self, images):
        """The autoencoder's loss under learned and under random masks.

        The random masks are the same at every call, so that epochs compare.

        Args:
            images: float tensor of shape (batch, height, width, channels).

        Returns:
            A dict of two scalars, `loss` and `random_mask_loss`.
        """
        tokens = self.encoder.embed(images)
        random_scores = uniform_rows(images, self.encoder.num_tokens, seed=0)
        losses = {}
        for name, scores in (
            ("loss", self._selection_scores(tokens)),
            ("random_mask_loss", random_scores),
        ):
            selection = keep_top_tokens(scores, self.autoencoder.num_visible)
            prediction = self.autoencoder.predict_removed(tokens, selection)
            losses[name] = self.autoencoder.removed_loss(
                images, prediction, selection.removed_indices
            )
        return losses

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
