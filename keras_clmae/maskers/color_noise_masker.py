"""Mask patches by filtered noise."""

import keras
import numpy as np
from keras import ops

from keras_clmae.argument_validation import check_choice
from keras_clmae.argument_validation import check_number
from keras_clmae.maskers.masker import DrawnMasker

COLORS = ("red", "blue", "green", "purple")


@keras.saving.register_keras_serializable(package="keras_clmae")
class ColorNoiseMasker(DrawnMasker):
    """Masks by noise of a color, drawn for each image.

    White noise on the grid of patches, less some of its frequencies. After
    ColorMAE, https://arxiv.org/abs/2407.13036, which filters large images of
    noise once and cuts masks out of them; here the noise is drawn and filtered
    on the grid itself, whose borders are joined. With G the blur by a Gaussian:

    - `"red"`, low frequencies, G(sigma): large connected regions;
    - `"blue"`, high ones, 1 - G(sigma): patches spread evenly;
    - `"green"`, middle ones, G(sigma) - G(2 sigma): blobs of one size;
    - `"purple"`, all but the middle ones, 1 - G(sigma) + G(2 sigma).

    Args:
        color: str. `"red"`, `"blue"`, `"green"` or `"purple"`. Defaults to
            `"green"`, the paper's best.
        sigma: float. Standard deviation of the Gaussian, in patches. Defaults
            to `0.75`.
        grid_size: tuple of int. (rows, columns) of the patches. Defaults to
            `None`: the autoencoder sets its own; elsewhere the grid is taken as
            square.
        seed: int. Seed of the draws. Defaults to `None`: drawn.

    Call arguments:
        tokens: tensor of shape (batch, tokens, hidden_dim), of which only the
            sizes are read.

    Returns:
        `keep_scores`: float32 tensor of shape (batch, tokens).

    Example:

    >>> masker = keras_clmae.maskers.ColorNoiseMasker("blue")
    >>> masker(keras.ops.ones((2, 16, 8))).shape
    (2, 16)
    """

    def __init__(
        self, color="green", sigma=0.75, grid_size=None, seed=None, **kwargs
    ):
        super().__init__(grid_size=grid_size, seed=seed, **kwargs)
        check_choice("color", color, COLORS)
        check_number("sigma", sigma)
        if sigma <= 0:
            raise ValueError(
                f"`sigma` must be greater than 0. Received: sigma={sigma}"
            )
        self.color = color
        self.sigma = sigma

    def build(self, tokens_shape):
        super().build(tokens_shape)
        self._filter = _filter_matrix(self.color, self.sigma, self.grid)

    def call(self, tokens):
        noise = self.uniform(tokens, tokens.shape[1]) - 0.5
        return ops.matmul(noise, self._filter)

    def get_config(self):
        return {
            **super().get_config(),
            "color": self.color,
            "sigma": self.sigma,
        }


def _filter_matrix(color, sigma, grid_size):
    """Makes the filter as a symmetric (tokens, tokens) float32 matrix."""
    narrow, wide = (_blur_matrix(s, grid_size) for s in (sigma, 2 * sigma))
    identity = np.eye(len(narrow))
    return {
        "red": narrow,
        "blue": identity - narrow,
        "green": narrow - wide,
        "purple": identity - narrow + wide,
    }[color].astype("float32")


def _blur_matrix(sigma, grid_size):
    """Makes a Gaussian blur of a grid whose opposite borders are joined."""
    along = []
    for size in grid_size:
        frequency = np.fft.fftfreq(size)
        response = np.exp(-2.0 * (np.pi * sigma * frequency) ** 2)
        impulses = np.fft.ifft(
            response[:, None] * np.fft.fft(np.eye(size), axis=0), axis=0
        )
        along.append(impulses.real)
    return np.kron(*along)
