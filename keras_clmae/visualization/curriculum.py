"""Draw the course of a training: its losses, curriculum and masks."""

import csv
import math

import numpy as np

from keras_clmae.visualization.figures import BLUE
from keras_clmae.visualization.figures import GRAY
from keras_clmae.visualization.figures import GREEN
from keras_clmae.visualization.figures import ORANGE
from keras_clmae.visualization.figures import new_figure

# Losses in a log that are none of an objective's terms.
_OTHER_LOSSES = ("masking_loss", "learned_mask_loss", "random_mask_loss")
# Of fewer, none is beside the point.
_MIN_EPOCHS_TO_CUT = 4


def read_log(path):
    r"""Reads the CSV log of a run.

    Args:
        path: str. Path of a file that `keras.callbacks.CSVLogger` wrote.

    Returns:
        A dict from the name of the column to a float array, one value per
        epoch.

    Raises:
        ValueError: If no epoch was finished.

    Example:

    >>> path = os.path.join(tempfile.mkdtemp(), "log.csv")
    >>> with open(path, "w") as file:
    ...     written = file.write("epoch,loss\n0,2.0\n1,1.5\n")
    >>> keras_clmae.visualization.read_log(path)["loss"].tolist()
    [2.0, 1.5]
    """
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    if not rows:
        raise ValueError(
            f"`path` must have at least one epoch. Received: {path}"
        )
    return {
        name: np.array([_number(row[name]) for row in rows]) for name in rows[0]
    }


def _number(cell):
    # Keras writes NA for what an epoch did not measure.
    return float("nan" if cell in ("", "NA") else cell)


def curriculum_figure(log, title="", terms=None):
    """Draws a whole training on one page.

    Loss, curriculum factor and mask difficulty above the losses of the masking
    module. The ground is blue while the module is a partner (factor
    above 0) and orange while it is an adversary. A first epoch that would
    flatten the rest is left out of its panel, which says so.

    Args:
        log: dict of arrays, as `read_log` gives it, or the `history` of a
            `keras.callbacks.History`. Of plain MAE only the loss is drawn.
        title: str. Stands above the panels.
        terms: sequence of str. Names in the log that get a panel in the lower
            row, such as the `term_names` of the objective. Defaults to `None`:
            every name that ends in `_loss`, but for those of the autoencoder
            and the sum.

    Returns:
        A matplotlib figure.

    Example:

    >>> figure = keras_clmae.visualization.curriculum_figure(
    ...     {
    ...         "loss": [2.0, 1.0],
    ...         "curriculum_factor": [1.0, -1.0],
    ...         "kl_loss": [0.1, 0.0],
    ...     }
    ... )
    >>> len(figure.axes)
    4
    """
    log = {name: np.asarray(values) for name, values in log.items()}
    epochs = log.get("epoch", np.arange(len(log["loss"]))) + 1
    has_masks = "curriculum_factor" in log
    figure = new_figure(12, 5.4) if has_masks else new_figure(5, 3.2)
    if has_masks:
        terms = [*(_terms_in(log) if terms is None else terms)]
        axes = figure.subplot_mosaic(_rows(terms))
    else:
        axes = {"loss": figure.subplots()}

    def line(axis, name, label, color, style="-"):
        if name in log:
            # A single epoch is a point.
            marker = "o" if len(epochs) == 1 else None
            axis.plot(
                epochs,
                log[name],
                style,
                color=color,
                label=label,
                marker=marker,
            )

    axis = axes["loss"]
    axis.set_title("loss of the autoencoder")
    line(axis, "loss", "training", BLUE)
    line(axis, "val_loss", "held out" + ", learned masks" * has_masks, ORANGE)
    line(axis, "val_random_mask_loss", "held out, random masks", GRAY, "--")
    line(axis, "random_mask_loss", "training, random masks", GRAY, ":")
    # Where no corner is free, the curves shine through.
    axis.legend(fontsize=9, framealpha=0.8, edgecolor="none")
    if has_masks:
        axis = axes["factor"]
        axis.set_title("curriculum factor")
        line(axis, "curriculum_factor", "", GREEN)
        axis.axhline(0, color=GRAY, linewidth=0.8)
        axis.set_ylim(-1.15, 1.15)
        _roles(axis, epochs, log["curriculum_factor"])
        axis = axes["difficulty"]
        axis.set_title("mask difficulty")
        _difficulty(axis, line, log)
        for name in terms:
            axes[name].set_title(_panel_title(name))
            line(axes[name], name, "", BLUE)
        for axis in axes.values():
            _shade(axis, epochs, log["curriculum_factor"])
    for name, axis in axes.items():
        if name not in ("factor", "difficulty"):
            _limits(axis)
        axis.set_xlabel("epoch")
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
        axis.title.set_fontsize(10)
    if title:
        figure.suptitle(title, x=0.01, ha="left", fontweight="bold")
    return figure


def _terms_in(log):
    """Finds the names of the masking module's losses in a log."""
    return [
        name
        for name in log
        if name.endswith("_loss")
        and not name.startswith("val_")
        and name not in _OTHER_LOSSES
    ]


def _panel_title(name):
    """Words the name of an objective's term."""
    term = name.removeprefix("masking_").removesuffix("_loss")
    kind = "loss" if name.endswith("_loss") else "module"
    return f"masking {kind}: {term.replace('_', ' ')}"


def _rows(terms):
    """Lays out the panels as rows of names, as wide as both rows need."""
    width = math.lcm(4, len(terms) or 1)
    upper = ["loss", "loss", "factor", "difficulty"]
    return [
        [name for name in row for _ in range(width // len(row))]
        for row in (upper, terms)
        if row
    ]


def _roles(axis, epochs, factors):
    """Labels the roles where the ground has their color, beside the curve."""
    for role, here, height in (
        ("partner", factors > 0, 0.08),
        ("adversary", factors < 0, 0.92),
    ):
        edges = np.flatnonzero(np.diff(np.concatenate([[0], here, [0]])))
        if not edges.size:
            continue
        starts, ends = edges[::2], edges[1::2]
        longest = np.argmax(ends - starts)
        axis.text(
            epochs[starts[longest] : ends[longest]].mean(),
            height,
            role,
            ha="center",
            va="center",
            fontsize=9,
            color=GRAY,
            transform=axis.get_xaxis_transform(),
        )


def _limits(axis):
    """Leaves out the first epoch where it flattens the rest, and says so.

    Its curves begin at the second epoch: none is cut off by the frame.
    """
    lines = [
        line
        for line in axis.get_lines()
        if len(line.get_ydata()) >= _MIN_EPOCHS_TO_CUT
    ]
    if not lines:
        return
    rest = np.concatenate([line.get_ydata()[1:] for line in lines])
    low, high = np.nanmin(rest), np.nanmax(rest)
    margin = 0.08 * (high - low)
    firsts = [line.get_ydata()[0] for line in lines]
    if max(firsts) > high + 5 * margin > low:
        mark, first, height, side = "↑", max(firsts), 0.97, "top"
    elif min(firsts) < low - 5 * margin < high:
        mark, first, height, side = "↓", min(firsts), 0.03, "bottom"
    else:
        return
    low, high = low - margin, high + margin
    axis.set_ylim(low, high)
    for line in lines:
        values = np.array(line.get_ydata(), "float64")
        if not low <= values[0] <= high:
            values[0] = np.nan
            line.set_ydata(values)
    axis.text(
        0.06,
        height,
        f"{mark} first epoch {first:.3g}",
        va=side,
        fontsize=8,
        color=GRAY,
        transform=axis.transAxes,
        bbox={"facecolor": "white", "alpha": 0.7, "linewidth": 0, "pad": 1},
    )


def _difficulty(axis, line, log):
    """Divides the loss under learned masks by that under random masks."""
    if not {"val_mask_difficulty", "mask_difficulty"} & set(log):
        axis.text(
            0.5,
            0.5,
            "needs validation data\nor a random mask share",
            ha="center",
            color=GRAY,
            transform=axis.transAxes,
        )
        return
    line(axis, "mask_difficulty", "training", BLUE)
    line(axis, "val_mask_difficulty", "held out", ORANGE)
    if {"val_mask_difficulty", "mask_difficulty"} <= set(log):
        axis.legend(fontsize=9, frameon=False)
    axis.axhline(1, color=GRAY, linewidth=0.8)
    axis.annotate(
        "as hard as\nrandom masks",
        (0.98, 1),
        xycoords=("axes fraction", "data"),
        xytext=(0, -2),
        textcoords="offset points",
        ha="right",
        va="top",
        fontsize=8,
        color=GRAY,
        bbox={"facecolor": "white", "alpha": 0.7, "linewidth": 0, "pad": 1},
        zorder=1,  # Behind the curve.
    )


def _shade(axis, epochs, factors):
    """Colors the ground: partner or adversary, the stronger the deeper."""
    for epoch, factor in zip(epochs, factors, strict=True):
        axis.axvspan(
            epoch - 0.5,
            epoch + 0.5,
            color=BLUE if factor > 0 else ORANGE,
            alpha=min(abs(factor), 1) * 0.12,
            linewidth=0,
            zorder=0,
        )
    axis.set_xlim(epochs[0] - 0.5, epochs[-1] + 0.5)
