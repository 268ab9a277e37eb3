"""Train a masker to predict which patches are hard to reconstruct."""

import keras
from keras import ops

from keras_clmae.argument_validation import check_choice
from keras_clmae.argument_validation import check_number
from keras_clmae.distribution.replicas import uniform_rows
from keras_clmae.layers.token_selection import gather_tokens
from keras_clmae.objectives.masking_objective import MaskingObjective

_EPSILON = 1e-6


@keras.saving.register_keras_serializable(package="keras_clmae")
class PatchErrorObjective(MaskingObjective):
    """The masker predicts the errors of the patches, and the factor ranks them.

    From the tokens of the whole image the masker predicts how large the error
    of each removed patch will be, relative to the others of its image. The
    targets are the errors that the autoencoder's phase computes anyway, so
    there is no masking phase: both players move in the same step. Nearest
    published relative: https://arxiv.org/abs/2304.05919, which has no sign.

    The scores that choose the visible tokens are
    `factor * sharpness * z + Gumbel(0, 1)`, with z the predictions standardized
    over all tokens of the image; without noise in validation. So +1 keeps the
    hard patches visible (easy masks), 0 gives exactly MAE's random masks, and
    -1 hides the hard ones.

    Args:
        sharpness: float > 0. How strongly the predictions weigh against the
            noise. Defaults to `1.0`.
        loss: str. `"squared_error"`: of the predictions, less their mean over
            the removed patches of the image, from the standardized errors; or
            `"ranking"`: the logistic loss of every pair of removed patches of
            an image, of which the one with the larger error should have the
            larger prediction. Defaults to `"squared_error"`.
        seed: int. Seed of the noise. Defaults to `None`: drawn.

    Raises:
        ValueError: If an argument does not fit.

    Example:

    >>> objective = keras_clmae.objectives.PatchErrorObjective(seed=0)
    >>> scores = objective.selection_scores(
    ...     keras.ops.array([[1.0, 3.0]]), factor=-1.0, training=False
    ... )
    >>> print(keras.ops.convert_to_numpy(scores).round(3))
    [[ 0.707 -0.707]]
    """

    term_names = ("patch_error_loss", "patch_error_correlation")
    needs_masking_phase = False
    default_masker_arguments = {
        "num_layers": 1,
        "head": "per_token",
        "activation": "linear",
    }

    def __init__(self, sharpness=1.0, loss="squared_error", seed=None):
        check_number("sharpness", sharpness)
        if sharpness <= 0:
            raise ValueError(
                "`sharpness` must be greater than 0. "
                f"Received: sharpness={sharpness}"
            )
        check_choice("loss", loss, ("squared_error", "ranking"))
        self.sharpness = sharpness
        self.loss = loss
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def __call__(self, autoencoder, images, keep_scores, factor, removed=None):
        predictions = gather_tokens(
            ops.expand_dims(keep_scores, -1), removed.indices
        )[..., 0]
        targets = standardize(ops.stop_gradient(removed.errors))
        centered = predictions - ops.mean(predictions, axis=-1, keepdims=True)
        if self.loss == "squared_error":
            loss = ops.mean(ops.square(centered - targets))
        else:
            loss = _pairwise_logistic_loss(centered, targets)
        correlation = ops.mean(
            standardize(ops.stop_gradient(predictions)) * targets
        )
        return loss, {
            "patch_error_loss": loss,
            "patch_error_correlation": correlation,
        }

    def selection_scores(self, keep_scores, factor, training):
        # The deviation over n - 1, as in the trials that chose the sharpness.
        scores = factor * self.sharpness * standardize(keep_scores, ddof=1)
        if not training:
            return scores
        draws = uniform_rows(
            keep_scores, keep_scores.shape[1], self.seed_generator
        )
        draws = ops.clip(draws, _EPSILON, 1.0 - _EPSILON)
        return scores - ops.log(-ops.log(draws))

    def check_masker(self, masker):
        if getattr(masker, "activation", "linear") != "linear":
            raise ValueError(
                "`masking_module` must predict without bounds for a "
                "PatchErrorObjective, as MaskingModule("
                'head="per_token", activation="linear") does. '
                f"Received: activation={masker.activation!r}"
            )

    def get_config(self):
        return {
            "sharpness": self.sharpness,
            "loss": self.loss,
            "seed": self.seed,
        }


def standardize(values, ddof=0):
    """Standardizes each row to mean 0 and standard deviation 1.

    Args:
        values: float tensor of shape (batch, columns).
        ddof: int. The variance divides by the columns less this. Defaults to
            `0`.

    Returns:
        Tensor of the same shape; rows of equal values become zeros.
    """
    centered = values - ops.mean(values, axis=-1, keepdims=True)
    squares = ops.sum(ops.square(centered), axis=-1, keepdims=True)
    variance = squares / max(values.shape[-1] - ddof, 1)
    return centered / (ops.sqrt(variance) + _EPSILON)


def _pairwise_logistic_loss(predictions, targets):
    """Averages the loss over pairs of which the first has the larger target."""
    difference = predictions[:, :, None] - predictions[:, None, :]
    larger = ops.cast(targets[:, :, None] > targets[:, None, :], "float32")
    losses = ops.softplus(-difference) * larger
    return ops.divide_no_nan(ops.sum(losses), ops.sum(larger))
