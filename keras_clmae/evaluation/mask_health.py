"""Measure learned masks, and warn where they have collapsed."""

import warnings

import keras
import numpy as np
from keras import ops

from keras_clmae.evaluation.prediction import count_batches
from keras_clmae.evaluation.prediction import iterate_batches
from keras_clmae.evaluation.prediction import predict_batches
from keras_clmae.models import mask_overlap
from keras_clmae.objectives.curriculum_objective import UNDECIDED_DISTANCE

# Shares from which on masks count as collapsed: ours. Random masks overlap by
# 1 - mask_ratio, masks that are the same for all images by 1.
COLLAPSED_OVERLAP = 0.99
COLLAPSED_UNDECIDED_SHARE = 0.95


def mask_statistics(model, dataset, batch_size=256, verbose=0):
    """Measures the health of the masks that a `CLMAE` has learned.

    Warns (`UserWarning`) where masks have collapsed: the same tokens are
    visible in every image, or almost no score has left the middle.

    Args:
        model: `CLMAE`.
        dataset: Images as an array of shape `(images, height, width,
            channels)`, or batches of them, with or without labels; at least
            two images.
        batch_size: int. Images in a batch where arrays are given. Defaults
            to 256.
        verbose: `"auto"`, 0, 1 or 2. The progress bar, as in
            `keras.Model.predict`. Defaults to 0.

    Returns:
        A dict:

        - `mask_ratio`: share of removed tokens;
        - `keep_score_mean`, `keep_score_std`: over images and tokens; these and
          the next two only of scores between 0 and 1, not of predicted errors;
        - `undecided_share`: share of scores within 0.24 of 0.5, two standard
          deviations of the gaussian loss;
        - `entropy`: mean binary entropy of the scores in bits, 0 (decided) to
          1 (all 0.5);
        - `mask_overlap`: mean over pairs of images of the share of one's
          visible positions that are visible in the other: `1 - mask_ratio`
          for random masks, 1 where all are the same;
        - `visible_share`: array of shape `(rows, columns)`, how often each
          position is visible;
        - `learned_mask_loss`, `random_mask_loss`: MAE's loss under learned and
          under random masks;
        - `difficulty`: the first over the second; above 1 the learned masks
          are harder than random ones.

    Raises:
        ValueError: If the model is no `CLMAE`, or there is only one image.

    Example:

    >>> import numpy as np, keras_clmae
    >>> model = keras_clmae.models.CLMAE.from_sizes(
    ...     image_shape=(8, 8, 1), patch_size=2, hidden_dim=16, num_layers=2,
    ...     num_heads=2, decoder_hidden_dim=16, decoder_num_layers=1,
    ...     decoder_num_heads=2,
    ... )
    >>> images = np.random.normal(size=(16, 8, 8, 1)).astype("float32")
    >>> statistics = keras_clmae.evaluation.mask_statistics(model, images)
    >>> statistics["mask_ratio"], statistics["visible_share"].shape
    (0.75, (4, 4))
    """
    if not hasattr(model, "masking_module"):
        raise ValueError(
            "`model` must be a CLMAE, with a masking module. "
            f"Received: model={model!r}"
        )
    reader = _MaskReader(model)
    sizes = []

    def batches():
        for images, _ in iterate_batches(dataset, batch_size):
            sizes.append(len(images))
            yield images

    outputs = predict_batches(
        reader, batches(), count_batches(dataset, batch_size), verbose
    )
    # A data set may give fewer batches than it says.
    outputs["keep_scores"] = outputs["keep_scores"][: sum(sizes)]
    for name in ("loss", "random_mask_loss"):
        outputs[name] = outputs[name][: len(sizes)]
    if sum(sizes) < 2:
        raise ValueError(
            "`dataset` must hold at least two images, to compare "
            f"their masks. Received: {sum(sizes)}"
        )
    scores = outputs["keep_scores"].astype("float64")
    statistics = _mask_statistics(
        scores, model.autoencoder.num_visible, model.encoder.grid_size
    )
    if not model.objective.has_own_selection:
        statistics |= _score_statistics(scores)
    learned = float(np.average(outputs["loss"], weights=sizes))
    random = float(np.average(outputs["random_mask_loss"], weights=sizes))
    statistics["learned_mask_loss"] = learned
    statistics["random_mask_loss"] = random
    statistics["difficulty"] = learned / random
    _warn_of_collapse(statistics)
    return statistics


def _mask_statistics(scores, num_visible, grid_size):
    num_images, num_tokens = scores.shape
    # As the model chooses: the highest scores, the first of equal ones.
    visible = np.argsort(-scores, axis=1, kind="stable")[:, :num_visible]
    times_visible = np.bincount(visible.ravel(), minlength=num_tokens)
    mask = np.ones(scores.shape, "float32")
    np.put_along_axis(mask, visible, 0.0, axis=1)
    return {
        "mask_ratio": 1 - num_visible / num_tokens,
        "mask_overlap": float(mask_overlap(mask)),
        "visible_share": (times_visible / num_images).reshape(grid_size),
    }


def _score_statistics(scores):
    clipped = np.clip(scores, 1e-12, 1 - 1e-12)
    entropy = -(
        clipped * np.log2(clipped) + (1 - clipped) * np.log2(1 - clipped)
    )
    return {
        "keep_score_mean": float(scores.mean()),
        "keep_score_std": float(scores.std()),
        "undecided_share": float(
            np.mean(np.abs(scores - 0.5) < UNDECIDED_DISTANCE)
        ),
        "entropy": float(entropy.mean()),
    }


def _warn_of_collapse(statistics):
    overlap = statistics["mask_overlap"]
    undecided = statistics.get("undecided_share", 0.0)
    if overlap >= COLLAPSED_OVERLAP:
        # Predicted errors have no weight of a loss to turn.
        remedy = (
            " A larger `diversity_loss_weight` keeps masks apart."
            if "undecided_share" in statistics
            else ""
        )
        warnings.warn(
            "The masks have collapsed: images share "
            f"{overlap:.1%} of their visible positions.{remedy}",
            stacklevel=3,
        )
    if undecided >= COLLAPSED_UNDECIDED_SHARE:
        warnings.warn(
            f"The masks have collapsed: {undecided:.1%} of the scores are "
            "undecided. A larger `gaussian_loss_weight` drives them to 0 or 1.",
            stacklevel=3,
        )


class _MaskReader(keras.Model):
    """Model from a batch to its scores and two losses, as vectors of one."""

    def __init__(self, model):
        # TensorFlow refuses the scope of a name that begins with underscores.
        super().__init__(name="mask_reader")
        self.model = model
        self.built = True

    def call(self, images):
        losses = self.model.validation_losses(images)
        return {
            "keep_scores": self.model.keep_scores(images),
            **{name: ops.reshape(loss, (1,)) for name, loss in losses.items()},
        }
