import keras


def warmup_cosine(learning_rate, total_steps, warmup_steps=0, final=0.0):
    """Linear warm-up from 0, then half a cosine down to `final`.

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
        ValueError: If the warm-up is as long as the run.

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
    if warmup_steps == 0:
        return keras.optimizers.schedules.CosineDecay(
            learning_rate, total_steps, alpha=final / learning_rate
        )
    return keras.optimizers.schedules.CosineDecay(
        0.0,
        total_steps - warmup_steps,
        alpha=final / learning_rate,
        warmup_target=learning_rate,
        warmup_steps=warmup_steps,
    )
