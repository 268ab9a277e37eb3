"""Define the interface of the objectives of learned maskers."""

from typing import NamedTuple


class RemovedErrors(NamedTuple):
    """Errors of the autoencoder's phase under the learned masks.

    Attributes:
        errors: float32 tensor of shape (batch, removed), without a gradient:
            the error of each removed patch, as the autoencoder's loss has it.
        indices: int tensor of shape (batch, removed): their positions.
    """

    errors: object
    indices: object


class MaskingObjective:
    """Base class: a serializable loss of the masker.

    Subclass it with `__call__` and `get_config`, and register the subclass with
    `keras.saving.register_keras_serializable` to have it saved with the model.
    Everything runs inside the compiled training step, so it uses `keras.ops`.
    `CLMAE(autoencoder, masking_module, objective)` trains by it.

    Attributes:
        term_names: tuple of str. Names of the logs that `__call__` gives; a
            name that ends in `_loss` gets a panel in `curriculum_figure`.
        score_term_names: tuple of str. Names of the logs that `score_logs`
            gives.
        needs_masking_phase: bool. `True`: the masker has a phase of its own,
            after the autoencoder's and on the updated autoencoder. `False`: it
            is trained in the same step by what the autoencoder's phase computes
            anyway; then `__call__` gets `removed`, and no gradient of the loss
            may reach the autoencoder.
        seed_generator: `keras.random.SeedGenerator` of what `selection_scores`
            draws, which the model saves, or `None`.
        default_masker_arguments: dict. Arguments of the `MaskingModule` that
            `CLMAE` makes where it is given none.

    Example:

    >>> class Sparsity(keras_clmae.objectives.MaskingObjective):
    ...     term_names = ("sparsity_loss",)
    ...     def __call__(
    ...         self, autoencoder, images, keep_scores, factor, removed=None
    ...     ):
    ...         loss = keras.ops.mean(keep_scores)
    ...         return loss, {"sparsity_loss": loss}
    ...     def get_config(self):
    ...         return {}
    >>> loss, logs = Sparsity()(None, None, keras.ops.ones((2, 4)), 1.0)
    >>> float(loss), list(logs)
    (1.0, ['sparsity_loss'])
    """

    term_names = ()
    score_term_names = ()
    needs_masking_phase = True
    seed_generator = None
    default_masker_arguments = {}

    def __call__(self, autoencoder, images, keep_scores, factor, removed=None):
        """Computes the loss of the masker.

        Args:
            autoencoder: `MaskedAutoencoder`, whose weights are constants here.
            images: float tensor of shape (batch, height, width, channels).
            keep_scores: float32 tensor of shape (batch, tokens), as the masker
                gives them; the gradient passes through it.
            factor: scalar. The curriculum factor.
            removed: `RemovedErrors`, without a masking phase; else `None`.

        Returns:
            The scalar loss, and a dict with `term_names` of scalars.
        """
        raise NotImplementedError(
            f"{type(self).__name__} must define `__call__(autoencoder, images, "
            "keep_scores, factor, removed=None)`."
        )

    def selection_scores(self, keep_scores, factor, training):
        """Computes the scores whose highest choose the visible tokens.

        Args:
            keep_scores: float32 tensor of shape (batch, tokens), as the masker
                gives them, without a gradient.
            factor: scalar. The curriculum factor.
            training: bool. Whether it may draw noise.

        Returns:
            float32 tensor of shape (batch, tokens).
        """
        return keep_scores

    @property
    def has_own_selection(self):
        """True if other scores than the masker's choose the tokens."""
        base = MaskingObjective.selection_scores
        return type(self).selection_scores is not base

    def score_logs(self, keep_scores):
        """Summarizes the scores of a batch in scalars, for the log.

        Args:
            keep_scores: float32 tensor of shape (batch, tokens), as the masker
                gives them.

        Returns:
            A dict with `score_term_names` of scalars.
        """
        return {}

    def check_masker(self, masker):
        """Refuses a masker that the objective cannot train.

        Args:
            masker: `keras.layers.Layer`. Maps tokens to scores.

        Raises:
            ValueError: If it gives scores of another kind.
        """

    def get_config(self):
        raise NotImplementedError(
            f"{type(self).__name__} must define `get_config()`."
        )

    @classmethod
    def from_config(cls, config):
        return cls(**config)
