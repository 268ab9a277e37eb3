"""Lay out images in a grid of framed panels, in one pair of axes.

Each pair of matplotlib axes brings axes, ticks and spines along, which take
longer to draw than a small image. So all panels of a figure share one pair,
whose unit is an inch.
"""

import numpy as np

from keras_clmae.optional_imports import require
from keras_clmae.visualization.figures import FRAME
from keras_clmae.visualization.figures import new_figure

# Inches between panels, and at the edges of the figure.
_PAD = 0.07
# Width of a gap between columns, over that of a column.
_GAP = 0.2
# Inches that a letter of 9 points takes; few are wider.
_LETTER = 0.078
# Inches of the title above the grid.
_TITLE = 0.3


class Panel:
    """An image in a frame, with words above and below.

    Args:
        axes: matplotlib axes that all panels share, in inches.
        left: float. Left edge of the panel, as `bottom` in inches.
        bottom: float. Lower edge of the panel.
        width: float. Width in inches.
        height: float. Height in inches.
    """

    def __init__(self, axes, left, bottom, width, height):
        patches = require("matplotlib.patches", "Drawing figures")
        self.axes = axes
        self.left, self.bottom = left, bottom
        self.right, self.top = left + width, bottom + height
        self.frame = axes.add_patch(
            patches.Rectangle(
                (left, bottom),
                width,
                height,
                fill=False,
                edgecolor=FRAME,
                linewidth=0.8,
                zorder=3,
            )
        )

    def show(self, image, **options):
        """Draws an image, or an array as a heat map, over the whole panel.

        Args:
            image: array of shape (height, width) or (height, width, 3).
            **options: Arguments of matplotlib's `Axes.imshow`.

        Returns:
            The matplotlib image.
        """
        return self.axes.imshow(
            image,
            extent=(self.left, self.right, self.bottom, self.top),
            aspect="auto",
            **options,
        )

    def write_above(self, text, **options):
        """Writes words in the middle above the panel.

        Args:
            text: str.
            **options: Arguments of matplotlib's `Axes.text`.
        """
        self._write(text, self.top + 0.05, "bottom", options)

    def write_below(self, text, **options):
        """Writes words in the middle below the panel.

        Args:
            text: str.
            **options: Arguments of matplotlib's `Axes.text`.
        """
        self._write(text, self.bottom - 0.05, "top", options)

    def _write(self, text, height, side, options):
        middle = (self.left + self.right) / 2
        self.axes.text(middle, height, text, ha="center", va=side, **options)

    def hide(self):
        """Leaves the place of the panel empty."""
        self.frame.set_visible(False)


def panel_grid(
    row_labels,
    num_columns,
    aspect=1.0,
    title="",
    cell=1.05,
    gaps=(),
    header=0.0,
    footer=0.0,
    between=0.0,
    right=0.0,
):
    """Makes a figure of panels, the rows labeled at the left.

    Args:
        row_labels: list of str. One per row.
        num_columns: int.
        aspect: float. Width of a panel over its height.
        title: str. Stands above the grid.
        cell: float. Height of a panel in inches.
        gaps: sequence of int. Columns before which there is a gap.
        header: float. Inches for words above the first row.
        footer: float. Inches for words below the last row.
        between: float. Inches for words between rows.
        right: float. Inches for a scale to the right of the grid.

    Returns:
        The matplotlib figure and an array of `Panel`, (rows, columns).
    """
    rows, width = len(row_labels), cell * aspect
    longest = max(len(part) for text in row_labels for part in text.split("\n"))
    start = _PAD + (_LETTER * longest + 0.1 if longest else 0)
    lefts = [
        start
        + column * (width + _PAD)
        + _GAP * width * sum(gap <= column for gap in gaps)
        for column in range(num_columns)
    ]
    above = header + (_TITLE if title else 0)
    size = (
        lefts[-1] + width + _PAD + right,
        above + rows * (cell + _PAD) + (rows - 1) * between + _PAD + footer,
    )
    figure = new_figure(*size, layout=None)
    axes = figure.add_axes((0, 0, 1, 1), autoscale_on=False)
    axes.set(xlim=(0, size[0]), ylim=(0, size[1]))
    axes.set_axis_off()
    tops = [
        size[1] - above - _PAD - row * (cell + _PAD + between)
        for row in range(rows)
    ]
    panels = np.array(
        [
            [Panel(axes, left, top - cell, width, cell) for left in lefts]
            for top in tops
        ]
    )
    for top, label in zip(tops, row_labels, strict=True):
        if label:
            axes.text(
                start - 0.08,
                top - cell / 2,
                label,
                ha="right",
                va="center",
                fontsize=9,
            )
    if title:
        axes.text(
            _PAD,
            size[1] - 0.06,
            title,
            va="top",
            fontweight="bold",
            fontsize=11,
        )
    return figure, panels


def scale_beside(figure, heat_map, panels, height=1.0, **options):
    """Draws the scale of a heat map to the right of some panels.

    Args:
        figure: matplotlib figure of `panel_grid`, with room at the right.
        heat_map: matplotlib image, as `Panel.show` returns it.
        panels: sequence of `Panel`, whose height the scale has.
        height: float. Share of that height. Defaults to `1.0`.
        **options: Arguments of matplotlib's `Figure.colorbar`.

    Returns:
        The matplotlib colorbar.
    """
    width, total = figure.get_size_inches()
    left = max(panel.right for panel in panels) + 0.1
    bottom = min(panel.bottom for panel in panels)
    top = max(panel.top for panel in panels)
    cut = (1 - height) * (top - bottom) / 2
    place = figure.add_axes(
        (
            left / width,
            (bottom + cut) / total,
            0.1 / width,
            height * (top - bottom) / total,
        )
    )
    bar = figure.colorbar(heat_map, cax=place, **options)
    bar.outline.set_visible(False)
    place.tick_params(labelsize=8)
    return bar
