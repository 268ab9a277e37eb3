"""Define the interface of maskers, and a base of those that draw."""

import keras

from keras_clmae.argument_validation import check_positive_integer
from keras_clmae.distribution.replicas import uniform_rows
from keras_clmae.random_state import RandomStateMixin


class Masker(keras.layers.Layer):
    """Base class: a layer from tokens to `keep_scores`.

    The tokens with the highest scores stay visible: the autoencoder keeps as
    many as its `mask_ratio` says, so every masker masks exactly that share,
    with static shapes. Subclass it with `call(tokens)`, make weights in
    `build`, and register the subclass with
    `keras.saving.register_keras_serializable` to have it saved with the model.

    Call arguments:
        tokens: tensor of shape (batch, tokens, hidden_dim), as
            `ViTEncoder.embed` gives them.

    Returns:
        `keep_scores`: float32 tensor of shape (batch, tokens), high = stays
        visible.

    Example:

    >>> class CenterMasker(keras_clmae.maskers.Masker):
    ...     def call(self, tokens):
    ...         distance = keras.ops.abs(
    ...             keras.ops.arange(16, dtype="float32") - 7.5
    ...         )
    ...         return keras.ops.zeros_like(tokens[..., 0]) - distance
    >>> CenterMasker()(keras.ops.ones((2, 16, 8))).shape
    (2, 16)
    """

    def compute_output_shape(self, tokens_shape):
        return tuple(tokens_shape[:2])

    def compute_output_spec(self, tokens):
        return keras.KerasTensor(tokens.shape[:2], dtype="float32")


class DrawnMasker(RandomStateMixin, Masker):
    """Base class of maskers without weights: they draw their scores.

    Of the tokens they read only how many there are. Draws come from a
    `keras.random.SeedGenerator`, whose state is saved with the model, and are
    those that one device would draw for the whole batch.

    Args:
        grid_size: tuple of int. (rows, columns) of the patches. Defaults to
            `None`: the autoencoder sets its own; elsewhere the grid is taken as
            square.
        seed: int. Seed of the draws. Defaults to `None`: drawn.
    """

    def __init__(self, grid_size=None, seed=None, **kwargs):
        super().__init__(**kwargs)
        if grid_size is not None:
            grid_size = tuple(grid_size)
            for side in grid_size:
                check_positive_integer("grid_size", side)
            if len(grid_size) != 2:
                raise ValueError(
                    "`grid_size` must be (rows, columns). "
                    f"Received: grid_size={grid_size!r}"
                )
        self.grid_size = grid_size
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        # (rows, columns) in use: the argument, or what `set_grid` was told.
        self.grid = grid_size

    def set_grid(self, grid_size):
        """Sets the grid of patches, before the masker is built.

        Args:
            grid_size: tuple of int. (rows, columns) of the patches.

        Raises:
            ValueError: If the masker was made for another grid.
        """
        if self.grid_size not in (None, tuple(grid_size)):
            raise ValueError(
                "`grid_size` of the masker must be that of the encoder, "
                f"{tuple(grid_size)}. Received: grid_size={self.grid_size}"
            )
        self.grid = tuple(grid_size)

    def build(self, tokens_shape):
        num_tokens = tokens_shape[1]
        if self.grid is None:
            side = round(num_tokens**0.5)
            self.grid = (side, side)
        if self.grid[0] * self.grid[1] != num_tokens:
            raise ValueError(
                "`grid_size` must be the rows and columns of the patches, "
                f"{num_tokens} in all. Received: grid_size={self.grid_size}"
            )

    def get_build_config(self):
        # The autoencoder builds it, for its own grid.
        return None

    def uniform(self, tokens, columns):
        """Draws numbers in [0, 1), one row per image.

        Args:
            tokens: tensor of which only the batch size is read.
            columns: int. Draws for each image.

        Returns:
            float32 tensor of shape (batch, columns).
        """
        return uniform_rows(tokens, columns, self.seed_generator)

    def get_config(self):
        return {
            **super().get_config(),
            "grid_size": self.grid_size,
            "seed": self.seed,
        }
