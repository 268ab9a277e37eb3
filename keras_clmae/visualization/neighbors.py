"""Draw an image beside the images that are most like it."""

import math

from keras_clmae.visualization.figures import BLUE
from keras_clmae.visualization.figures import GRAY
from keras_clmae.visualization.panels import panel_grid

_PER_ROW = 8
# Letters of a name that fit below a panel.
_LETTERS = 17


def neighbors_figure(query, neighbors, similarities, names, rgb, title=""):
    """Draws an image, and to its right the images that are most like it.

    Args:
        query: float array of shape (height, width, channels), as the model
            sees it.
        neighbors: float array of shape (count, height, width, channels), the
            most similar first.
        similarities: sequence of float, one per neighbor.
        names: list of str, one per neighbor.
        rgb: callable. Maps images to RGB images, as `rgb_function` gives it.
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
    >>> len(figure.axes[0].images)
    4
    """
    columns = min(len(neighbors), _PER_ROW)
    rows = math.ceil(len(neighbors) / columns)
    figure, panels = panel_grid(
        [""] * rows,
        1 + columns,
        query.shape[1] / query.shape[0],
        title,
        cell=1.35,
        gaps=(1,),
        header=0.2,
        footer=0.15,
        between=0.35,
    )
    panels[0, 0].show(rgb(query))
    panels[0, 0].write_above("looked for", fontsize=8, color=BLUE)
    panels[0, 0].frame.set_edgecolor(BLUE)
    places = panels[:, 1:].ravel()
    for panel in [*panels[1:, 0], *places[len(neighbors) :]]:
        panel.hide()
    for panel, image, similarity, name in zip(
        places, neighbors, similarities, names, strict=False
    ):
        panel.show(rgb(image))
        panel.write_above(f"{similarity:.2f}", fontsize=8)
        panel.write_below(short_name(name), fontsize=6, color=GRAY)
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
