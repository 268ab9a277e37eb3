"""Schedule learning rates by step."""

import keras


def warmup_cosine(learning_rate, total_steps, warmup_steps=0, final=0.0):
    """Makes a schedule: linear warm-up from 0, then half a cosine.

    MAE's schedule for fine-tuning and linear probing (and of
    [SGDR](https://arxiv.org/abs/1608.03983)), per step.

    Args:
        learning_rate: float. The highest learning rate.
        total_steps: int. Steps of the whole run, warm-up included.
        warmup_steps: int. Steps until the highest learning rate. Defaults
            to 0.
        final: float. Learning rate at the end. Defaults to 0.0.

    Returns:
        A `keras.optimizers.schedules.CosineDecay`.

    Raises:
        ValueError: If the warm-up is as long as the run, or a rate is
            negative.

    Example:

    >>> from keras_clmae.optimizers import warmup_cosine
    >>> schedule = warmup_cosine(1.0, total_steps=30, warmup_steps=10)
    >>> [round(float(schedule(step)), 3) for step in (0, 5, 10, 20, 30)]
    [0.0, 0.5, 1.0, 0.5, 0.0]
    """
    if not 0 <= warmup_steps < total_steps:
        raise ValueError(
            "`warmup_steps` must be in [0, total_steps). Received: "
            f"warmup_steps={warmup_steps}, total_steps={total_steps}"
        )
    for name, rate in (("learning_rate", learning_rate), ("final", final)):
        if not rate >= 0:
            raise ValueError(
                f"`{name}` must not be negative. Received: {name}={rate}"
            )
    # The end as a part of the peak, which Keras takes; of a peak of 0, none.
    if learning_rate == 0 and final > 0:
        raise ValueError(
            "`final` must be 0 where `learning_rate` is. Received: "
            f"learning_rate={learning_rate}, final={final}"
        )
    alpha = final / learning_rate if learning_rate else 0.0
    if warmup_steps == 0:
        return keras.optimizers.schedules.CosineDecay(
            learning_rate, total_steps, alpha=alpha
        )
    return keras.optimizers.schedules.CosineDecay(
        0.0,
        total_steps - warmup_steps,
        alpha=alpha,
        warmup_target=learning_rate,
        warmup_steps=warmup_steps,
    )


def scale_learning_rate(base_learning_rate, batch_size):
    """Scales a learning rate for 256 images to the batch, linearly.

    MAE's rule, after [Goyal et al., 2017](https://arxiv.org/abs/1706.02677):
    `base_learning_rate * batch_size / 256`.

    Args:
        base_learning_rate: float. Learning rate of a batch of 256 images.
        batch_size: int. Images per step, on all devices together.

    Returns:
        float.

    Example:

    >>> keras_clmae.optimizers.scale_learning_rate(1e-3, batch_size=1024)
    0.004
    """
    return base_learning_rate * batch_size / 256
