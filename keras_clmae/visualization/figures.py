"""Make figures, and write them to files."""

from keras_clmae.optional_imports import require
from keras_clmae.saving.atomic_write import atomic_write

BLUE, ORANGE, GRAY, GREEN = "#2563eb", "#ea580c", "#6b7280", "#16a34a"
FRAME = "#d1d5db"
DOTS_PER_INCH = 150


def new_figure(width, height, layout="constrained"):
    """Makes a matplotlib figure without a window or global state.

    Args:
        width: float. Width in inches.
        height: float. Height in inches.
        layout: str. Matplotlib's layout engine, or `None` where all places are
            given. Defaults to `"constrained"`.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        ImportError: If matplotlib is not installed. The message says what to
            install.
    """
    matplotlib_figure = require("matplotlib.figure", "Drawing figures")
    return matplotlib_figure.Figure(figsize=(width, height), layout=layout)


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
