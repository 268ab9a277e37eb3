"""Draw keep scores as heat maps."""

import numpy as np

from keras_clmae.visualization.panels import scale_beside

# Inches that `score_scale` takes.
SCALE_WIDTH = 1.05


def are_shares(scores):
    """Tells whether scores lie between 0 and 1, as a sigmoid gives them.

    Args:
        scores: float array of any shape: all scores of the figure, or of all
            frames of an animation.

    Returns:
        bool. If `False`, each image is drawn on a scale of its own.
    """
    scores = np.asarray(scores)
    return bool(0 <= scores.min() and scores.max() <= 1)


def show_scores(panel, scores, grid_size, shares):
    """Draws the scores of an image's tokens as a heat map.

    Args:
        panel: `Panel`.
        scores: float array of shape (tokens,).
        grid_size: tuple of int. (rows, columns) of patches in an image.
        shares: bool. Whether the scale goes from 0 to 1; else from the lowest
            score of this image to its highest.

    Returns:
        The matplotlib image.
    """
    lowest, highest = (0, 1) if shares else (np.min(scores), np.max(scores))
    return panel.show(
        np.reshape(scores, grid_size),
        vmin=lowest,
        vmax=highest,
        cmap="viridis",
    )


def score_scale(figure, heat_map, panels, shares, height=1.0):
    """Draws the scale of `show_scores` beside some panels.

    Args:
        figure: matplotlib figure, with `SCALE_WIDTH` at the right.
        heat_map: matplotlib image, as `show_scores` returns it.
        panels: sequence of `Panel` beside which the scale is drawn.
        shares: bool. As in `show_scores`.
        height: float. Share of the panels' height. Defaults to `1.0`.
    """
    bar = scale_beside(
        figure, heat_map, panels, height, ticks=heat_map.get_clim()
    )
    bar.ax.set_yticklabels(
        ["0", "1 stays"] if shares else ["lowest", "highest stays"]
    )
