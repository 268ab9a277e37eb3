"""Lay out figures as grids of panels, and write them to files."""

import numpy as np

from keras_clmae.optional_imports import require
from keras_clmae.saving.atomic_write import atomic_write

BLUE, ORANGE, GRAY, GREEN = "#2563eb", "#ea580c", "#6b7280", "#16a34a"
FRAME = "#d1d5db"
# Width of a gap between columns, over that of a column.
_GAP = 0.2
DOTS_PER_INCH = 150


def new_figure(width, height):
    """Makes a matplotlib figure without a window or global state.

    Args:
        width: float. Width in inches.
        height: float. Height in inches.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        ImportError: If matplotlib is not installed. The message says what to
            install.
    """
    matplotlib_figure = require("matplotlib.figure", "Drawing figures")
    return matplotlib_figure.Figure(
        figsize=(width, height), layout="constrained"
    )


def panel_grid(
    row_labels, num_columns, aspect=1.0, title="", cell=1.05, gaps=()
):
    """Makes a figure of panels without ticks, the rows labeled at the left.

    Args:
        row_labels: list of str. One per row.
        num_columns: int.
        aspect: float. Width of a panel over its height.
        title: str. Stands above the grid.
        cell: float. Height of a panel in inches.
        gaps: sequence of int. Columns before which there is a gap.

    Returns:
        The matplotlib figure and an array of its axes, (rows, columns).
    """
    rows = len(row_labels)
    widths, places = [], []
    for column in range(num_columns):
        widths += [_GAP, 1] if column in gaps else [1]
        places.append(len(widths) - 1)
    figure = new_figure(
        cell * aspect * sum(widths) + (1.3 if any(row_labels) else 0.1),
        cell * rows + 0.2 + (0.3 if title else 0),
    )
    grid = figure.add_gridspec(rows, len(widths), width_ratios=widths)
    axes = np.array(
        [
            [figure.add_subplot(grid[row, place]) for place in places]
            for row in range(rows)
        ]
    )
    for axis in axes.flat:
        axis.set_xticks([])
        axis.set_yticks([])
        axis.spines[:].set_color(FRAME)
    for axis, label in zip(axes[:, 0], row_labels, strict=True):
        axis.set_ylabel(
            label, rotation=0, ha="right", va="center", fontsize=9, labelpad=6
        )
    if title:
        figure.suptitle(
            title, x=0.01, ha="left", fontweight="bold", fontsize=11
        )
    return figure, axes


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


def show_scores(axis, scores, grid_size, shares):
    """Draws the scores of an image's tokens as a heat map.

    Args:
        axis: matplotlib axes.
        scores: float array of shape (tokens,).
        grid_size: tuple of int. (rows, columns) of patches in an image.
        shares: bool. Whether the scale goes from 0 to 1; else from the lowest
            score of this image to its highest.

    Returns:
        The matplotlib image.
    """
    lowest, highest = (0, 1) if shares else (np.min(scores), np.max(scores))
    return axis.imshow(
        np.reshape(scores, grid_size),
        vmin=lowest,
        vmax=highest,
        cmap="viridis",
    )


def score_bar(figure, heat_map, axes, shares, **options):
    """Draws the scale of `show_scores` beside some axes.

    Args:
        figure: matplotlib figure.
        heat_map: matplotlib image, as `show_scores` returns it.
        axes: list of axes beside which the scale is drawn.
        shares: bool. As in `show_scores`.
        **options: Arguments of matplotlib's `Figure.colorbar`.
    """
    bar = figure.colorbar(
        heat_map,
        ax=axes,
        ticks=heat_map.get_clim(),
        **{"pad": 0.01, **options},
    )
    bar.outline.set_visible(False)
    bar.ax.set_yticklabels(
        ["0", "1 stays"] if shares else ["lowest", "highest stays"], fontsize=8
    )


def save_figure(figure, path):
    """Writes a figure to a file that is whole or absent.

    Args:
        figure: matplotlib figure.
        path: str. Path of the file; the ending gives the format.

    Example:

    >>> import matplotlib.figure
    >>> path = os.path.join(tempfile.mkdtemp(), "empty.png")
    >>> keras_clmae.visualization.save_figure(
    ...     matplotlib.figure.Figure(), path
    ... )
    >>> os.path.exists(path)
    True
    """
    with atomic_write(path) as unfinished:
        figure.savefig(unfinished, dpi=DOTS_PER_INCH)
