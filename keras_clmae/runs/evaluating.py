"""Evaluate what a pretraining run left behind, and record the scores."""

import contextlib
import dataclasses
import hashlib
import itertools
import json
import os
import time
import warnings

import keras

from keras_clmae import evaluation
from keras_clmae.evaluation.encoder_source import load_source
from keras_clmae.runs.checks import settings_of
from keras_clmae.runs.evaluation_data import load_split
from keras_clmae.runs.evaluation_data import settle
from keras_clmae.runs.evaluation_data import settle_precision_of
from keras_clmae.runs.evaluation_settings import FineTuneSettings
from keras_clmae.runs.evaluation_settings import KNNSettings
from keras_clmae.runs.evaluation_settings import LinearProbeSettings
from keras_clmae.runs.evaluation_settings import MaskStatisticsSettings
from keras_clmae.runs.folder import RunFolder
from keras_clmae.runs.folder import folder_of
from keras_clmae.runs.folder import normalization_values
from keras_clmae.runs.loading import weights_arguments
from keras_clmae.runs.parts import import_classes
from keras_clmae.runs.protocols import score_fine_tuning
from keras_clmae.runs.protocols import score_knn
from keras_clmae.runs.protocols import score_linear_probe
from keras_clmae.runs.settings import read_settings
from keras_clmae.trainers import follows_curriculum
from keras_clmae.trainers.mask_health import PAGE
from keras_clmae.visualization import read_log

_PROTOCOLS = {
    KNNSettings: score_knn,
    LinearProbeSettings: score_linear_probe,
    FineTuneSettings: score_fine_tuning,
}
# Settings on which no score depends.
_NOT_DECISIVE = ("output", "name", "verbose", "save", "cache", "data_dir")


def knn(source, data, **settings):
    """Scores an encoder by k-nearest-neighbor classification.

    The same as `keras-clmae knn`: the same settings, and a record in JSON.

    Args:
        source: str. Folder of a run, model file, preset or `hf://` name, as in
            `keras_clmae.evaluation.load_encoder`.
        data: str. Labeled images: `"digits"`, a folder or `"tfds:NAME"`.
        **settings: further options of the command, such as `k=[5, 1]` or
            `baseline="random"`.

    Returns:
        dict. The record that was written: scores, settings, versions.

    Raises:
        ValueError: if a setting is unknown or wrong, or nothing is at `source`
            or `data`.

    Example:

    ```python
    record = keras_clmae.runs.knn("runs/digits", "digits")
    print(record["scores"]["pretrained"]["accuracy"])
    ```
    """
    return _evaluate_from(KNNSettings, source, data, settings)


def linear_probe(source, data, **settings):
    """Scores an encoder by a linear classifier on its frozen features.

    The same as `keras-clmae linear-probe`.

    Args:
        source: as in `knn`.
        data: as in `knn`.
        **settings: further options of the command, such as `solver="lars"`.

    Returns:
        dict. The record that was written.

    Raises:
        ValueError: as in `knn`.

    Example:

    ```python
    record = keras_clmae.runs.linear_probe("runs/digits", "digits")
    ```
    """
    return _evaluate_from(LinearProbeSettings, source, data, settings)


def finetune(source, data, **settings):
    """Fine-tunes an encoder with labels and scores the classifier.

    The same as `keras-clmae finetune`.

    Args:
        source: as in `knn`.
        data: as in `knn`.
        **settings: further options of the command, such as `epochs=50` or
            `save="classifier.keras"`.

    Returns:
        dict. The record that was written.

    Raises:
        ValueError: as in `knn`.

    Example:

    ```python
    record = keras_clmae.runs.finetune("runs/digits", "digits", epochs=20)
    ```
    """
    return _evaluate_from(FineTuneSettings, source, data, settings)


def mask_statistics(source, data, **settings):
    """Describes the masks that a CL-MAE run has learned.

    The same as `keras-clmae mask-statistics`.

    Args:
        source: as in `knn`; it must hold a whole `CLMAE`.
        data: str. Images: `"digits"`, a folder or `"tfds:NAME"`.
        **settings: further options of the command, such as `split="train"`.

    Returns:
        dict. The record that was written: statistics, warnings, settings.

    Raises:
        ValueError: as in `knn`, and if the model learns no masks.

    Example:

    ```python
    record = keras_clmae.runs.mask_statistics("runs/digits", "digits")
    print(record["statistics"]["mask_overlap"])
    ```
    """
    return _evaluate_from(MaskStatisticsSettings, source, data, settings)


def _evaluate_from(kind, source, data, settings):
    values = {"source": source, "data": data, **settings}
    record, _ = evaluate(settings_of(kind, values))
    return record


def evaluate(settings):
    """Evaluates as settings say and writes the record.

    Args:
        settings: `KNNSettings`, `LinearProbeSettings`, `FineTuneSettings` or
            `MaskStatisticsSettings`.

    Returns:
        A pair: the record and the path of its file.

    Raises:
        ValueError: if the settings do not fit the model or the images.
    """
    settings.check_paths()
    folder = folder_of(settings.source)
    if folder.has_run():
        import_classes(read_settings(folder.path))
    started = time.perf_counter()
    keras.utils.set_random_seed(settings.seed)
    if isinstance(settings, MaskStatisticsSettings):
        settled, results = _describe_masks(settings)
    else:
        settled, results = _score(settings)
    record = evaluation.make_record(
        name=settings.name or evaluation.run_name(settings.source),
        protocol=settings.protocol_label(),
        data=settings.data,
        scores=results.get("scores", {}),
        settings=all_settings(settings, settled),
        seconds=time.perf_counter() - started,
    )
    if "scores" not in results:
        # Nothing for the table of scores.
        del record["scores"]
    record |= results
    output = settings.output or default_output(
        settings.source, record["protocol"], record
    )
    evaluation.write_record(record, output)
    return record, output


def _score(settings):
    """Scores the encoder, and an untrained one where that is asked for."""
    score = _PROTOCOLS[type(settings)]
    encoder = evaluation.load_encoder(
        settings.source, **weights_arguments(settings)
    )
    settings, encoder = settle_precision_of(settings, encoder)
    settled = settle(settings, encoder)
    scores = {"pretrained": score(settled, encoder, "pretrained")}
    if settings.baseline == "random":
        keras.utils.set_random_seed(settings.seed)
        untrained = evaluation.untrained_copy(encoder)
        scores["random"] = score(settled, untrained, "random")
    return settled, {"scores": scores}


def _describe_masks(settings):
    """Measures the masks; their collapse is a result, not only a warning."""
    model = load_source(settings.source, **weights_arguments(settings))
    if not getattr(model, "learns_masks", False):
        raise ValueError(
            "`source` must hold a CLMAE, which learns masks. Received: "
            f"source={settings.source!r}, which holds {type(model).__name__}"
        )
    settled = settle(settings, model.encoder)
    images = load_split(settled, model.encoder, settings.split, labels=False)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        statistics = evaluation.mask_statistics(
            model, images, verbose=settings.verbose
        )
    collapses = []
    for warning in caught:
        if "masks have collapsed" in str(warning.message):
            collapses.append(str(warning.message))
        else:
            warnings.warn_explicit(
                warning.message,
                warning.category,
                warning.filename,
                warning.lineno,
            )
    statistics["visible_share"] = statistics["visible_share"].tolist()
    warned = [*collapses, *_warnings_of_log(folder_of(settings.source))]
    return settled, {"statistics": statistics, "warnings": warned}


def _warnings_of_log(folder):
    """Lists what the log of the run says about its masks."""
    if not os.path.isfile(folder.log):
        return []
    log = read_log(folder.log)
    difficulty = log.get("val_mask_difficulty", log.get("mask_difficulty"))
    if difficulty is None or follows_curriculum(
        log["curriculum_factor"], difficulty
    ):
        return []
    return [
        "The masks do not follow the curriculum: over the last fifth of the "
        "run its factor was negative, which asks for hard masks, and mask "
        f"difficulty has not risen; at the end it is {difficulty[-1]:.2f}. "
        f"See {PAGE}."
    ]


def all_settings(asked, settled):
    """Collects everything that a score depends on, as it is stored.

    Args:
        asked: the settings as they were given.
        settled: what `settle` made of them.

    Returns:
        dict.
    """
    settings = dataclasses.asdict(asked)
    if "precision" in settings:
        settings["precision"] = settled.precision
    if settled.statistics is not None:
        settings["normalization"] = normalization_values(settled.statistics)
    return settings


def default_output(source, label, record):
    """Path of a file that holds no other score.

    Args:
        source: str. As in `load_encoder`.
        label: str. What is measured.
        record: dict that is to be written.

    Returns:
        str. The same settings lead to the same name; a file of this name that
        holds other results stays.
    """
    settings = record["settings"]
    decisive = {
        name: value
        for name, value in settings.items()
        if name not in _NOT_DECISIVE
    }
    text = json.dumps(decisive, sort_keys=True)
    digest = hashlib.blake2b(text.encode(), digest_size=4).hexdigest()
    label = "".join(c if c.isalnum() else "_" for c in label)
    folder = "."
    with contextlib.suppress(OSError):
        if os.path.isfile(RunFolder(source).model):
            folder = source
    stem = os.path.join(folder, f"{label}_seed{settings['seed']}_{digest}")
    names = itertools.chain([""], (f"_{n}" for n in itertools.count(2)))
    return next(
        path
        for path in (f"{stem}{name}.json" for name in names)
        if not os.path.exists(path) or _holds(path, record)
    )


def _holds(path, record):
    """Tells whether a file has the results of `record` already."""
    results = ("scores", "statistics")
    record = json.loads(json.dumps(record))
    with contextlib.suppress(OSError, ValueError, AttributeError):
        with open(path, encoding="utf-8") as file:
            stored = json.load(file)
        return all(stored.get(each) == record.get(each) for each in results)
    return False
