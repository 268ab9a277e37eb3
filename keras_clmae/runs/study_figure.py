"""Draw the accuracies of a study over the processor's time."""

import math

from keras_clmae.runs.study_table import collect
from keras_clmae.runs.study_table import mean_and_deviation
from keras_clmae.runs.study_table import protocol_title
from keras_clmae.runs.study_table import scores_by_seed
from keras_clmae.runs.study_table import steady_seconds
from keras_clmae.visualization.figures import BLUE
from keras_clmae.visualization.figures import GRAY
from keras_clmae.visualization.figures import new_figure


def study_figure(records, protocol, baselines=()):
    """Draws accuracy over processor time, a panel for each backend.

    A point is the mean over the seeds; its bars are one standard deviation of
    accuracy and of time. What was not trained is a dashed line.

    Args:
        records: list of dicts, the results of runs.
        protocol: str. The protocol that is drawn.
        baselines: names of methods that are drawn in gray. Defaults to none.

    Returns:
        A matplotlib figure.
    """
    collected = collect(records)
    figure = new_figure(6 * len(collected), 4.2)
    panels = figure.subplots(1, len(collected), squeeze=False)[0]
    for axis, (backend, methods) in zip(panels, collected.items(), strict=True):
        labels = []
        for method, runs in methods.items():
            scores = list(scores_by_seed(runs, protocol).values())
            if scores:
                seconds = steady_seconds(runs)
                compared = method in baselines or not any(seconds)
                color = GRAY if compared else BLUE
                labels.append(_point(axis, method, scores, seconds, color))
        axis.set_title(backend, fontsize=10)
        axis.set_xlabel("processor seconds of the training")
        axis.set_ylabel(f"{protocol_title(protocol)}, %")
        axis.margins(0.15)
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
        _spread(axis, [label for label in labels if label is not None])
    return figure


def _spread(axis, labels):
    """Moves labels of points up until each has a line of its own."""
    low, high = axis.get_ylim()
    points = axis.get_window_extent().height * 72 / axis.figure.dpi
    last = -math.inf
    for label in sorted(labels, key=lambda each: each.xy[1]):
        wanted = (label.xy[1] - low) / (high - low) * points + 4
        height = max(wanted, last + label.get_fontsize() + 1)
        label.xyann = (5, height - wanted + 4)
        last = height


def _point(axis, method, scores, seconds, color):
    mean, deviation = mean_and_deviation(scores)
    time, time_deviation = mean_and_deviation(seconds)
    if not any(seconds):
        axis.axhline(mean, color=color, linestyle="--", linewidth=1)
        axis.annotate(
            method,
            (0.01, mean),
            xycoords=("axes fraction", "data"),
            xytext=(0, 3),
            textcoords="offset points",
            fontsize=8,
            color=color,
        )
        return None
    axis.errorbar(
        time,
        mean,
        yerr=None if math.isnan(deviation) else deviation,
        xerr=None if math.isnan(time_deviation) else time_deviation,
        fmt="o",
        color=color,
        elinewidth=1,
        capsize=2,
    )
    return axis.annotate(
        method,
        (time, mean),
        xytext=(5, 4),
        textcoords="offset points",
        fontsize=8,
        color=color,
    )
