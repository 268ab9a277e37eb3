"""Train the masking module by the paper's four terms."""

import keras
from keras import ops

from keras_clmae.argument_validation import check_number
from keras_clmae.distribution.replicas import global_batch
from keras_clmae.losses.mask_regularization import diversity_loss
from keras_clmae.losses.mask_regularization import gaussian_loss
from keras_clmae.losses.mask_regularization import kl_loss
from keras_clmae.losses.reconstruction import patch_errors
from keras_clmae.losses.reconstruction import weighted_reconstruction_loss
from keras_clmae.objectives.masking_objective import MaskingObjective

# A score counts as undecided within two standard deviations of the gaussian
# loss, 0.12 each, around 0.5: there the loss still pushes it away.
UNDECIDED_DISTANCE = 0.24


@keras.saving.register_keras_serializable(package="keras_clmae")
class CurriculumObjective(MaskingObjective):
    """The paper's objective: a reconstruction loss and three regularizers.

    `factor * reconstruction + gaussian_loss_weight * gaussian
    + kl_loss_weight * kl + diversity_loss_weight * diversity`, with the frozen
    autoencoder as judge: every token is multiplied by its score instead of
    being chosen, so that the gradient reaches the scores, and all tokens go
    through the encoder. After https://arxiv.org/abs/2308.16572.

    On several devices all four terms are those of the global batch: the scores
    and patch errors of all images are gathered.

    Args:
        gaussian_loss_weight: float. Defaults to `1.0`.
        kl_loss_weight: float. Defaults to `25.6`: the published code weights
            the sum over its batch of 256 images by 0.1; ours is a mean.
        diversity_loss_weight: float. Defaults to `2.0`.

    Raises:
        ValueError: If a weight is not a finite number.

    Example:

    >>> objective = keras_clmae.objectives.CurriculumObjective(
    ...     diversity_loss_weight=4.0
    ... )
    >>> objective.term_names[1:]
    ('gaussian_loss', 'kl_loss', 'diversity_loss')
    """

    term_names = (
        "masking_reconstruction_loss",
        "gaussian_loss",
        "kl_loss",
        "diversity_loss",
    )
    score_term_names = ("keep_score_mean", "undecided_share")

    def __init__(
        self,
        gaussian_loss_weight=1.0,
        kl_loss_weight=25.6,
        diversity_loss_weight=2.0,
    ):
        self.gaussian_loss_weight = gaussian_loss_weight
        self.kl_loss_weight = kl_loss_weight
        self.diversity_loss_weight = diversity_loss_weight
        for name, weight in self.get_config().items():
            check_number(name, weight)

    def __call__(self, autoencoder, images, keep_scores, factor, removed=None):
        tokens = ops.stop_gradient(autoencoder.encoder.embed(images))
        scores = ops.cast(ops.expand_dims(keep_scores, -1), tokens.dtype)
        latent = autoencoder.encoder.encode(tokens * scores)
        errors = patch_errors(
            autoencoder.decoder(latent), autoencoder.targets(images)
        )
        errors, keep_scores = global_batch(errors), global_batch(keep_scores)
        terms = {
            "masking_reconstruction_loss": weighted_reconstruction_loss(
                errors, 1.0 - keep_scores
            ),
            "gaussian_loss": gaussian_loss(keep_scores),
            "kl_loss": kl_loss(keep_scores, autoencoder.mask_ratio),
            "diversity_loss": diversity_loss(keep_scores),
        }
        loss = (
            factor * terms["masking_reconstruction_loss"]
            + self.gaussian_loss_weight * terms["gaussian_loss"]
            + self.kl_loss_weight * terms["kl_loss"]
            + self.diversity_loss_weight * terms["diversity_loss"]
        )
        return loss, terms

    def score_logs(self, keep_scores):
        undecided = ops.abs(keep_scores - 0.5) < UNDECIDED_DISTANCE
        return {
            "keep_score_mean": ops.mean(keep_scores),
            "undecided_share": ops.mean(ops.cast(undecided, "float32")),
        }

    def check_masker(self, masker):
        if getattr(masker, "activation", "sigmoid") == "linear":
            raise ValueError(
                "`masking_module` must give scores in (0, 1) for a "
                "CurriculumObjective, by a sigmoid. "
                'Received: a masking module with activation="linear"'
            )

    def get_config(self):
        return {
            "gaussian_loss_weight": self.gaussian_loss_weight,
            "kl_loss_weight": self.kl_loss_weight,
            "diversity_loss_weight": self.diversity_loss_weight,
        }
