"""Draw images beside the maps of their reconstruction errors."""

import numpy as np

from keras_clmae.visualization.figures import GRAY
from keras_clmae.visualization.figures import panel_grid
from keras_clmae.visualization.neighbors import short_name


def anomalies_figure(images, maps, scores, names, rgb, title=""):
    """Draws images above the maps of their reconstruction errors.

    Args:
        images: float array of shape (count, height, width, channels), as the
            model sees them.
        maps: float array of shape (count, rows, columns), the error of each
            patch.
        scores: sequence of float, one per image.
        names: list of str, one per image.
        rgb: function from images to pictures, as `rgb_function` gives it.
        title: str. Stands above the grid.

    Returns:
        A matplotlib figure: a column per image, its score above, the end of its
        name below. All maps share one scale.

    Example:

    >>> images = np.random.normal(size=(3, 8, 8, 1)).astype("float32")
    >>> figure = keras_clmae.visualization.anomalies_figure(
    ...     images, np.ones((3, 2, 2)), [1, 1, 1], ["a", "b", "c"],
    ...     keras_clmae.visualization.rgb_function(images),
    ... )
    >>> len(figure.axes)
    7
    """
    figure, axes = panel_grid(
        ["image", "error"],
        len(images),
        images.shape[2] / images.shape[1],
        title,
        cell=1.25,
    )
    highest = float(np.max(maps))
    for index, (above, below) in enumerate(axes.T):
        above.imshow(rgb(images[index]))
        above.set_title(f"{scores[index]:.3g}", fontsize=8)
        heat_map = below.imshow(
            maps[index], vmin=0, vmax=highest, cmap="inferno"
        )
        below.set_xlabel(short_name(names[index]), fontsize=6, color=GRAY)
    bar = figure.colorbar(
        heat_map, ax=list(axes.flat), ticks=[0, highest], pad=0.01
    )
    bar.outline.set_visible(False)
    bar.ax.set_yticklabels(["0", f"{highest:.3g}"], fontsize=8)
    return figure
