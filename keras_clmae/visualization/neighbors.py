"""Draw an image beside the images that are most like it."""

import math

from keras_clmae.visualization.figures import BLUE
from keras_clmae.visualization.figures import GRAY
from keras_clmae.visualization.figures import panel_grid

_PER_ROW = 8
# Letters of a name that fit below a panel.
_LETTERS = 17


def neighbors_figure(query, neighbors, similarities, names, rgb, title=""):
    """Draws an image, and at its right those that are most like it.

    Args:
        query: float array of shape (height, width, channels), as the model
            sees it.
        neighbors: float array of shape (count, height, width, channels), the
            most similar first.
        similarities: sequence of float, one per neighbor.
        names: list of str, one per neighbor.
        rgb: function from images to pictures, as `rgb_function` gives it.
        title: str. Stands above the grid.

    Returns:
        A matplotlib figure: eight neighbors per row, each with its similarity
        above and the end of its name below.

    Example:

    >>> images = np.random.normal(size=(4, 8, 8, 1)).astype("float32")
    >>> figure = keras_clmae.visualization.neighbors_figure(
    ...     images[0], images[1:], [0.9, 0.8, 0.1], ["a", "b", "c"],
    ...     keras_clmae.visualization.rgb_function(images),
    ... )
    >>> len(figure.axes)
    4
    """
    columns = min(len(neighbors), _PER_ROW)
    rows = math.ceil(len(neighbors) / columns)
    figure, axes = panel_grid(
        [""] * rows,
        1 + columns,
        query.shape[1] / query.shape[0],
        title,
        cell=1.35,
        gaps=(1,),
    )
    axes[0, 0].imshow(rgb(query))
    axes[0, 0].set_title("looked for", fontsize=8, color=BLUE)
    axes[0, 0].spines[:].set_color(BLUE)
    for axis in axes[1:, 0]:
        axis.set_visible(False)
    panels = axes[:, 1:].ravel()
    for axis in panels[len(neighbors) :]:
        axis.set_visible(False)
    for axis, image, similarity, name in zip(
        panels, neighbors, similarities, names, strict=False
    ):
        axis.imshow(rgb(image))
        axis.set_title(f"{similarity:.2f}", fontsize=8)
        axis.set_xlabel(short_name(name), fontsize=6, color=GRAY)
    return figure


def short_name(name, letters=_LETTERS):
    """Shortens a name to its end, by which files of a folder differ.

    Args:
        name: str.
        letters: int. Letters that fit.

    Returns:
        str.

    Example:

    >>> keras_clmae.visualization.neighbors.short_name("photos/one.png", 8)
    '...e.png'
    """
    return name if len(name) <= letters else f"...{name[3 - letters :]}"
