import keras
from keras import ops

from keras_clmae.argument_validation import check_number
from keras_clmae.distribution.replicas import global_batch
from keras_clmae.distribution.replicas import uniform_rows
from keras_clmae.layers.token_selection import keep_top_tokens
from keras_clmae.losses.mask_regularization import diversity_loss
from keras_clmae.losses.mask_regularization import gaussian_loss
from keras_clmae.losses.mask_regularization import kl_loss
from keras_clmae.losses.reconstruction import patch_errors
from keras_clmae.losses.reconstruction import weighted_reconstruction_loss
from keras_clmae.models.masked_autoencoder import MaskedAutoencoder
from keras_clmae.models.masking_module import MaskingModule
from keras_clmae.models.presets import PresetModel
from keras_clmae.trainers import CLMAETrainer

# A score counts as undecided within two standard deviations of the gaussian
# loss, 0.12 each, around 0.5: there the loss still pushes it away.
UNDECIDED_DISTANCE = 0.24


@keras.saving.register_keras_serializable(package="keras_clmae")
class CLMAE(CLMAETrainer, PresetModel):
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
        masking_module: layer from tokens (batch, tokens, hidden_dim) to
            `keep_scores` (batch, tokens) in (0, 1). Defaults to the paper's
            `MaskingModule()`, with the encoder's `gradient_checkpointing`.
        gaussian_loss_weight: float. Defaults to `1.0`.
        kl_loss_weight: float. Defaults to `25.6`: the published code weights
            the sum over its batch of 256 images by 0.1; ours is a mean.
        diversity_loss_weight: float. Defaults to `2.0`.

    Call arguments:
        images: float tensor of shape (batch, height, width, channels).
        training: bool. Only matters with the encoder's `drop_path_rate`.

    Returns:
        A dict: `keep_scores` (batch, tokens), `mask` (batch, tokens), 1 =
        removed, `removed_indices` (batch, removed) and `prediction` (batch,
        removed, patch_dim).

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
        gaussian_loss_weight=1.0,
        kl_loss_weight=25.6,
        diversity_loss_weight=2.0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if not isinstance(autoencoder, MaskedAutoencoder):
            raise ValueError(
                "`autoencoder` must be a MaskedAutoencoder. "
                f"Received: autoencoder={autoencoder!r}"
            )
        weights = {
            "gaussian_loss_weight": gaussian_loss_weight,
            "kl_loss_weight": kl_loss_weight,
            "diversity_loss_weight": diversity_loss_weight,
        }
        for name, weight in weights.items():
            check_number(name, weight)
        self.autoencoder = autoencoder
        if masking_module is None:
            masking_module = MaskingModule(
                gradient_checkpointing=(
                    autoencoder.encoder.gradient_checkpointing
                ),
                name="masking_module",
                dtype=autoencoder.dtype_policy,
            )
        self.masking_module = masking_module
        self.gaussian_loss_weight = gaussian_loss_weight
        self.kl_loss_weight = kl_loss_weight
        self.diversity_loss_weight = diversity_loss_weight
        self.build((None, *autoencoder.image_shape))

    @classmethod
    def from_sizes(
        cls,
        masking_module=None,
        gaussian_loss_weight=1.0,
        kl_loss_weight=25.6,
        diversity_loss_weight=2.0,
        **autoencoder_sizes,
    ):
        """Makes the autoencoder too, from its sizes.

        Args:
            masking_module: see the class.
            gaussian_loss_weight: see the class.
            kl_loss_weight: see the class.
            diversity_loss_weight: see the class.
            **autoencoder_sizes: arguments of `MaskedAutoencoder.from_sizes`.

        Returns:
            A `CLMAE`.
        """
        return cls(
            MaskedAutoencoder.from_sizes(
                **autoencoder_sizes, name="autoencoder"
            ),
            masking_module,
            gaussian_loss_weight=gaussian_loss_weight,
            kl_loss_weight=kl_loss_weight,
            diversity_loss_weight=diversity_loss_weight,
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
            encoder = self.encoder
            self.masking_module.build(
                (None, encoder.num_tokens, encoder.hidden_dim)
            )
        self.built = True

    def keep_scores(self, images):
        """The masking module's scores of each token.

        Args:
            images: float tensor of shape (batch, height, width, channels).

        Returns:
            float32 tensor of shape (batch, tokens), high = stays visible.
        """
        return self.masking_module(self.encoder.embed(images))

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

    def autoencoder_loss(self, images, keep_scores=None):
        """The autoencoder's loss under the learned masks.

        No gradient reaches the masking module. On several devices it is the
        mean over the images of one; the trainer averages over the devices.

        Args:
            images: float tensor of shape (batch, height, width, channels).
            keep_scores: float tensor of shape (batch, tokens), where they are
                known already.

        Returns:
            The scalar loss, and a dict of scalars for the log.
        """
        tokens = self.encoder.embed(images)
        if keep_scores is None:
            keep_scores = self.masking_module(ops.stop_gradient(tokens))
        keep_scores = ops.stop_gradient(keep_scores)
        autoencoder = self.autoencoder
        selection = keep_top_tokens(keep_scores, autoencoder.num_visible)
        prediction = autoencoder.predict_removed(
            tokens, selection, training=True
        )
        loss = autoencoder.removed_loss(
            images, prediction, selection.removed_indices
        )
        undecided = ops.abs(keep_scores - 0.5) < UNDECIDED_DISTANCE
        return loss, {
            "loss": loss,
            "keep_score_mean": ops.mean(keep_scores),
            "undecided_share": ops.mean(ops.cast(undecided, "float32")),
            "mask_overlap": mask_overlap(global_batch(selection.mask)),
        }

    def masking_loss(self, images, curriculum_factor, keep_scores=None):
        """The masking module's loss, with the frozen autoencoder as judge.

        Every token is multiplied by its score instead of being chosen, so that
        the gradient reaches the scores; all tokens go through the encoder. On
        several devices all four terms are those of the global batch: the scores
        and patch errors of all images are gathered.

        Args:
            images: float tensor of shape (batch, height, width, channels).
            curriculum_factor: scalar, from +1 (partner) to -1 (adversary).
            keep_scores: float tensor of shape (batch, tokens), where they are
                known already; the gradient passes through it.

        Returns:
            The scalar loss, and a dict of scalars for the log: the loss and its
            four terms, before factor and weights.
        """
        tokens = ops.stop_gradient(self.encoder.embed(images))
        if keep_scores is None:
            keep_scores = self.masking_module(tokens)
        scores = ops.cast(ops.expand_dims(keep_scores, -1), tokens.dtype)
        latent = self.encoder.encode(tokens * scores)
        errors = patch_errors(
            self.autoencoder.decoder(latent), self.autoencoder.targets(images)
        )
        errors, keep_scores = global_batch(errors), global_batch(keep_scores)
        reconstruction = weighted_reconstruction_loss(errors, 1.0 - keep_scores)
        gaussian = gaussian_loss(keep_scores)
        kl = kl_loss(keep_scores, self.autoencoder.mask_ratio)
        diversity = diversity_loss(keep_scores)
        loss = (
            curriculum_factor * reconstruction
            + self.gaussian_loss_weight * gaussian
            + self.kl_loss_weight * kl
            + self.diversity_loss_weight * diversity
        )
        return loss, {
            "masking_loss": loss,
            "masking_reconstruction_loss": reconstruction,
            "gaussian_loss": gaussian,
            "kl_loss": kl,
            "diversity_loss": diversity,
        }

    def both_losses(self, images, curriculum_factor):
        """Both losses at the same point, with the scores computed once.

        Args:
            images: float tensor of shape (batch, height, width, channels).
            curriculum_factor: scalar, from +1 (partner) to -1 (adversary).

        Returns:
            What `autoencoder_loss` and `masking_loss` return.
        """
        tokens = ops.stop_gradient(self.encoder.embed(images))
        keep_scores = self.masking_module(tokens)
        return (
            self.autoencoder_loss(images, keep_scores),
            self.masking_loss(images, curriculum_factor, keep_scores),
        )

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
            ("loss", self.masking_module(tokens)),
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
        return {
            **super().get_config(),
            "autoencoder": serialize(self.autoencoder),
            "masking_module": serialize(self.masking_module),
            "gaussian_loss_weight": self.gaussian_loss_weight,
            "kl_loss_weight": self.kl_loss_weight,
            "diversity_loss_weight": self.diversity_loss_weight,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        parts = {
            name: keras.saving.deserialize_keras_object(
                config[name], custom_objects=custom_objects
            )
            for name in ("autoencoder", "masking_module")
        }
        return cls(**{**config, **parts})


def mask_overlap(mask):
    """How much of their visible tokens two images of a batch share.

    Mean over pairs of images of the share of one's visible positions that are
    visible in the other too. Random masks give `1 - mask_ratio`; 1 means that
    all images have the same mask.

    Args:
        mask: tensor of shape (batch, tokens), 1 = removed, each row with
            equally many zeros.

    Returns:
        Scalar float32 tensor; 0 for a batch of one.

    Example:

    >>> mask = keras.ops.array([[0.0, 0.0, 1.0, 1.0], [0.0, 1.0, 0.0, 1.0]])
    >>> float(keras_clmae.models.mask_overlap(mask))
    0.5
    """
    visible = 1.0 - ops.cast(mask, "float32")
    # Its length as a number would be copied to the device; see `kl_loss`.
    batch = ops.sum(ops.ones_like(visible[:, 0]))
    times_visible = ops.sum(visible, axis=0)
    shared = ops.sum(times_visible * (times_visible - 1.0))
    return ops.divide_no_nan(shared, ops.sum(visible) * (batch - 1.0))
