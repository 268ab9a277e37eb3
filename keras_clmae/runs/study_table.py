"""Sum up the results of a study: means, deviations, paired differences."""

import math
import statistics
from typing import NamedTuple

from keras_clmae.optional_imports import require

_CONFIDENCE = 0.95
_TITLES = {
    "knn": "k-NN",
    "knn_leave_one_out": "k-NN, leave-one-out",
    "knn_leave_one_out_train": "k-NN, leave-one-out, training images",
    "logistic_probe": "logistic probe",
    "fine_tune": "fine-tuning",
}


class Difference(NamedTuple):
    """Differences between two methods, seed by seed.

    Attributes:
        mean: float. Mean of the differences.
        low: float. Lower end of the 95 % t-interval of this mean; `nan` of a
            single pair.
        high: float. Its upper end.
        pairs: int. Seeds that both methods have.
    """

    mean: float
    low: float
    high: float
    pairs: int


def paired_difference(values, others):
    """Compares two methods by the seeds that both have.

    Args:
        values: dict from seed to score.
        others: dict from seed to score.

    Returns:
        A `Difference`, or `None` where they share no seed.

    Example:

    >>> from keras_clmae.runs.study_table import paired_difference
    >>> paired_difference({0: 3.0, 1: 5.0}, {0: 1.0, 1: 3.0, 2: 9.0})
    Difference(mean=2.0, low=2.0, high=2.0, pairs=2)
    """
    differences = [
        values[seed] - others[seed] for seed in values if seed in others
    ]
    if not differences:
        return None
    mean = statistics.mean(differences)
    pairs = len(differences)
    if pairs == 1:
        return Difference(mean, math.nan, math.nan, 1)
    t = require("scipy.stats", "An interval").t
    quantile = float(t.ppf((1 + _CONFIDENCE) / 2, pairs - 1))
    half = quantile * statistics.stdev(differences) / math.sqrt(pairs)
    return Difference(mean, mean - half, mean + half, pairs)


def collect(records):
    """Orders the results of a study by what the table shows.

    Args:
        records: list of dicts, the results of runs.

    Returns:
        dict from backend to a dict from method to a dict from seed to result.
    """
    collected = {}
    for record in sorted(records, key=lambda record: record["backend"]):
        methods = collected.setdefault(record["backend"], {})
        methods.setdefault(record["name"], {})[record["seed"]] = record
    return collected


def scores_by_seed(runs, protocol):
    """Takes the scores of one protocol, in percent, out of results by seed."""
    return {
        seed: 100 * record["scores"][protocol]
        for seed, record in runs.items()
        if protocol in record["scores"]
    }


def study_table(records, baselines=()):
    """Words all results of a study as Markdown, one table for each backend.

    A cell has the mean over the seeds and the standard deviation, with n - 1 in
    the denominator; below it, for each baseline, the mean difference to it over
    the seeds that both have, and its 95 % t-interval.

    Args:
        records: list of dicts, the results of runs.
        baselines: names of the methods to compare with. Defaults to none.

    Returns:
        str.
    """
    parts = []
    for backend, methods in collect(records).items():
        protocols = list(
            dict.fromkeys(
                protocol
                for runs in methods.values()
                for record in runs.values()
                for protocol in record["scores"]
            )
        )
        header = ["method", "runs", "epochs", "processor seconds"]
        header += [protocol_title(protocol) for protocol in protocols]
        header.append("mask difficulty")
        lines = [_row(header), "|---" * len(header) + "|"]
        for method, runs in methods.items():
            cells = [method, str(len(runs)), *_effort(runs)]
            for protocol in protocols:
                cells.append(_cell(method, methods, protocol, baselines))
            cells.append(_course(runs))
            lines.append(_row(cells))
        parts.append(f"### {_places(backend, methods)}\n\n" + "\n".join(lines))
    return "\n\n".join(parts) + "\n"


def protocol_title(protocol):
    """Words the name of a protocol."""
    if protocol.startswith("few_shot_"):
        return f"{protocol.removeprefix('few_shot_')} a class"
    return _TITLES.get(protocol, protocol)


def mean_and_deviation(values):
    """Mean, and standard deviation with n - 1; `nan` of a single value."""
    deviation = statistics.stdev(values) if len(values) > 1 else math.nan
    return statistics.mean(values), deviation


def steady_seconds(runs):
    """Processor seconds of the training of each run, or zeros."""
    return [
        record.get("steady_processor_seconds", 0.0) for record in runs.values()
    ]


def _cell(method, methods, protocol, baselines):
    values = scores_by_seed(methods[method], protocol)
    if not values:
        return ""
    lines = [_spread(list(values.values()))]
    for baseline in baselines:
        if baseline == method or baseline not in methods:
            continue
        others = scores_by_seed(methods[baseline], protocol)
        difference = paired_difference(values, others)
        if difference is None:
            continue
        name = f"{baseline}: " if len(baselines) > 1 else ""
        interval = ""
        if difference.pairs > 1:
            interval = f" ({difference.low:+.1f} to {difference.high:+.1f})"
        lines.append(f"{name}{difference.mean:+.1f}{interval}")
    return "<br>".join(lines)


def _spread(values, digits=1):
    mean, deviation = mean_and_deviation(values)
    if math.isnan(deviation):
        return f"{mean:.{digits}f}"
    return f"{mean:.{digits}f} ± {deviation:.{digits}f}"


def _effort(runs):
    """Cells of the epochs and of the processor's time."""
    epochs = {record.get("epochs", 0) for record in runs.values()}
    seconds = steady_seconds(runs)
    return [
        " to ".join(map(str, sorted({min(epochs), max(epochs)}))),
        _spread(seconds, digits=0) if any(seconds) else "",
    ]


def _course(runs):
    """Mask difficulty: at first, its lowest, at the end; means over seeds."""
    courses = [
        record["mask_difficulty"]
        for record in runs.values()
        if record.get("mask_difficulty")
    ]
    if not courses:
        return ""
    means = (
        statistics.mean(take(course) for course in courses)
        for take in (lambda c: c[0], min, lambda c: c[-1])
    )
    return ", ".join(f"{mean:.2f}" for mean in means)


def _places(backend, methods):
    """The backend and the processors that its results come from."""
    processors = dict.fromkeys(
        record["processor"]
        for runs in methods.values()
        for record in runs.values()
    )
    return f"{backend}: {', '.join(processors)}"


def _row(cells):
    return "| " + " | ".join(cells) + " |"
