"""Drop residual branches at random (stochastic depth)."""

import keras

from keras_clmae.random_state import RandomStateMixin


@keras.saving.register_keras_serializable(package="keras_clmae")
class DropPath(RandomStateMixin, keras.layers.Dropout):
    """Drops a residual branch for whole images (stochastic depth).

    After https://arxiv.org/abs/1603.09382. What is kept is scaled by
    `1 / (1 - rate)`. Its random state is saved with the weights, so that a
    resumed training draws what it would have drawn.

    Args:
        rate: float in [0, 1). Probability of dropping.
        seed: int. Defaults to `None`: drawn.

    Call arguments:
        inputs: tensor of shape (batch, tokens, hidden_dim).
        training: bool. Nothing is dropped outside training.

    Returns:
        Tensor of the same shape.

    Example:

    >>> keras_clmae.layers.DropPath(0.5)(keras.ops.ones((2, 3, 4))).shape
    (2, 3, 4)
    """

    def __init__(self, rate, seed=None, **kwargs):
        # One draw for each image: the noise is the same for all its tokens.
        super().__init__(rate, noise_shape=(None, 1, 1), seed=seed, **kwargs)

    def get_config(self):
        config = super().get_config()
        del config["noise_shape"]
        return config
