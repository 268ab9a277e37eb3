"""Mask patches at random."""

import keras

from keras_clmae.distribution.replicas import uniform_rows
from keras_clmae.maskers.masker import Masker
from keras_clmae.random_state import RandomStateMixin


@keras.saving.register_keras_serializable(package="keras_clmae")
class RandomMasker(RandomStateMixin, Masker):
    """Masks uniformly at random, as MAE does.

    After https://arxiv.org/abs/2111.06377. On several devices the scores are
    those that one device would draw for the whole batch: no two images share a
    mask.

    Args:
        seed: int. Seed of the masks. Defaults to `None`: drawn.

    Call arguments:
        tokens: tensor of shape (batch, tokens, hidden_dim), of which only the
            sizes are read.

    Returns:
        `keep_scores`: float32 tensor of shape (batch, tokens) in [0, 1).

    Example:

    >>> masker = keras_clmae.maskers.RandomMasker(seed=0)
    >>> masker(keras.ops.ones((2, 16, 8))).shape
    (2, 16)
    """

    def __init__(self, seed=None, **kwargs):
        super().__init__(**kwargs)
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, tokens):
        return uniform_rows(tokens, tokens.shape[1], self.seed_generator)

    def get_config(self):
        return {**super().get_config(), "seed": self.seed}
