"""Make the schedule of the learning rate that probes and fine-tuning share."""

from keras_clmae.optimizers import scale_learning_rate
from keras_clmae.optimizers import warmup_cosine


def probe_schedule(
    base_learning_rate,
    batch_size,
    num_batches,
    epochs,
    warmup_epochs,
    final=0.0,
):
    """Makes half a cosine after a warm-up, of a rate for 256 images.

    A warm-up that would leave no epoch after it takes a fifth of the epochs,
    as in the settings of runs: the default of a short training must not be
    refused.

    Args:
        base_learning_rate: float. The highest one for 256 images.
        batch_size: int. Images in a batch.
        num_batches: int. Batches in an epoch.
        epochs: int. Passes over the images.
        warmup_epochs: int. Epochs of the warm-up.
        final: float. The last rate. Defaults to `0.0`.

    Returns:
        Keras learning-rate schedule.
    """
    if warmup_epochs >= epochs:
        warmup_epochs = epochs // 5
    return warmup_cosine(
        scale_learning_rate(base_learning_rate, batch_size),
        epochs * num_batches,
        warmup_epochs * num_batches,
        final=final,
    )
