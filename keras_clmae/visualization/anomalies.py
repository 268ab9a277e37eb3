"""Draw images beside the maps of their reconstruction errors."""

import numpy as np

from keras_clmae.visualization.figures import GRAY
from keras_clmae.visualization.neighbors import short_name
from keras_clmae.visualization.panels import panel_grid
from keras_clmae.visualization.panels import scale_beside


def anomalies_figure(images, maps, scores, names, rgb, title=""):
    """Draws images above the maps of their reconstruction errors.

    Args:
        images: float array of shape (count, height, width, channels), as the
            model sees them.
        maps: float array of shape (count, rows, columns), the error of each
            patch.
        scores: sequence of float, one per image.
        names: list of str, one per image.
        rgb: callable. Maps images to RGB images, as `rgb_function` gives it.
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
    >>> len(figure.axes[0].images)
    6
    """
    figure, panels = panel_grid(
        ["image", "error"],
        len(images),
        images.shape[2] / images.shape[1],
        title,
        cell=1.25,
        header=0.2,
        footer=0.15,
        right=0.65,
    )
    highest = float(np.max(maps))
    for index, (above, below) in enumerate(panels.T):
        above.show(rgb(images[index]))
        above.write_above(f"{scores[index]:.3g}", fontsize=8)
        heat_map = below.show(maps[index], vmin=0, vmax=highest, cmap="inferno")
        below.write_below(short_name(names[index]), fontsize=6, color=GRAY)
    bar = scale_beside(figure, heat_map, panels[1], ticks=[0, highest])
    bar.ax.set_yticklabels(["0", f"{highest:.3g}"])
    return figure
