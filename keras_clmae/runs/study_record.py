"""Pretrain one run of a study, score its encoder, and keep the result."""

import dataclasses
import gc
import json
import os
import pathlib
import platform
import re
import shutil

import keras
import numpy as np

from keras_clmae import data
from keras_clmae import evaluation
from keras_clmae.evaluation.records import make_record
from keras_clmae.runs.building import build_model
from keras_clmae.runs.building import precision
from keras_clmae.runs.evaluation_data import extract_splits
from keras_clmae.runs.evaluation_data import settle
from keras_clmae.runs.evaluation_data import settle_precision_of
from keras_clmae.runs.evaluation_settings import FineTuneSettings
from keras_clmae.runs.evaluation_settings import KNNSettings
from keras_clmae.runs.folder import RunFolder
from keras_clmae.runs.folder import normalization_values
from keras_clmae.runs.loading import load_data
from keras_clmae.runs.pretraining import run
from keras_clmae.runs.protocols import score_fine_tuning
from keras_clmae.runs.settings import read_settings
from keras_clmae.runs.study_settings import NOT_DECISIVE
from keras_clmae.runs.summary import device_names
from keras_clmae.runs.training_clock import TrainingClock
from keras_clmae.visualization import read_log


def record_path(study, planned):
    """Gives the file of a run's result.

    Args:
        study: `StudySettings`.
        planned: `PlannedRun`.

    Returns:
        str. Each backend has files of its own.
    """
    name = f"{planned.method}_seed{planned.seed}_{keras.config.backend()}.json"
    return os.path.join(study.output, name)


def finish_run(study, planned):
    """Does what is left of a run and writes its result.

    Args:
        study: `StudySettings`.
        planned: `PlannedRun`.

    Returns:
        dict. The result, as it is in the file.

    Raises:
        ValueError: if what an earlier start left has other settings.
    """
    path = record_path(study, planned)
    record = read_record(path)
    if record is not None:
        check_same_settings(planned, record["settings"], path)
        check_same_protocols(study, record, path)
        return record
    # Of the run before.
    keras.backend.clear_session()
    gc.collect()
    planned = _on_this_backend(planned)
    encoder, normalization = _encoder_of(planned)
    settings = planned.settings
    log = _read_training(settings.run_dir) if planned.is_trained else {}
    scores = score(study, planned, encoder, normalization)
    record = make_record(
        name=planned.method,
        protocol="study",
        data=settings.data,
        scores={name: round(accuracy, 6) for name, accuracy in scores.items()},
        settings=_stored_settings(planned),
        seconds=log.get("wall_seconds", 0.0),
    )
    # Of the table of single scores it is no row.
    del record["protocol"]
    record |= {
        "seed": planned.seed,
        "protocols": study.protocols,
        **log,
        "backend": keras.config.backend(),
        "processor": processor_name(),
        "devices": device_names(),
    }
    evaluation.write_record(record, path)
    if planned.is_trained and not study.keep_runs:
        shutil.rmtree(settings.run_dir)
    return record


def read_record(path):
    """Reads the result of a run.

    Args:
        path: str.

    Returns:
        dict, or `None` where there is no such file.

    Raises:
        ValueError: if the file is no result.
    """
    if not os.path.isfile(path):
        return None
    try:
        with open(path, encoding="utf-8") as file:
            record = json.load(file)
        if {"name", "seed", "scores", "settings", "backend"} <= set(record):
            return record
    except (ValueError, TypeError):
        pass
    raise ValueError(
        f"{path!r} must hold the result of a study's run; delete it to have it "
        "made anew."
    )


def check_same_settings(planned, stored, place):
    """Refuses results of other settings than those of the study.

    Args:
        planned: `PlannedRun`.
        stored: dict. Settings of the result.
        place: str. Where it lies.

    Raises:
        ValueError: if a setting that decides the scores differs. One that an
            older result lacks had its default.
    """
    wanted = json.loads(json.dumps(_stored_settings(planned)))
    for name, value in wanted.items():
        if (name, value) == ("precision", "auto"):
            continue
        if name in stored and stored[name] != value:
            raise ValueError(
                f"{place!r} must have the study's settings: delete it, or "
                f"give the method another name. Received: {name}="
                f"{stored[name]!r}; the study has {name}={value!r}"
            )


def check_same_protocols(study, record, place):
    """Refuses scores by other protocols than those of the study.

    Args:
        study: `StudySettings`.
        record: dict. The result.
        place: str. Where it lies.

    Raises:
        ValueError: if a protocol differs. Of an older result, which does not
            tell its options, the names are compared.
    """
    wanted = json.loads(json.dumps(study.protocols))
    stored = record.get("protocols")
    if stored is None:
        scored = {re.sub(r"_\d+$", "", name) for name in record["scores"]}
        stored = {name: wanted.get(name, {}) for name in scored}
    if stored != wanted:
        raise ValueError(
            f"{place!r} must have the study's protocols: delete it to have it "
            f"made anew. Received: protocols={stored}; the study has {wanted}"
        )


def score(study, planned, encoder, normalization):
    """Scores an encoder by the protocols of a study.

    Args:
        study: `StudySettings`.
        planned: `PlannedRun`.
        encoder: `ViTEncoder`.
        normalization: `PixelNormalization` of the training.

    Returns:
        dict from the protocol, such as `"knn"` or `"few_shot_16"`, to the
        accuracy in [0, 1].
    """
    settings = planned.settings
    common = {
        "source": settings.run_dir,
        "data": settings.data,
        "cache": settings.cache,
        "data_dir": settings.data_dir,
        "data_arguments": settings.data_arguments,
        "evaluation_crop": settings.evaluation_crop,
        "seed": planned.seed,
        "verbose": 0,
        **study.evaluation,
    }
    if settings.data != "digits":
        values = normalization_values(normalization)
        common.setdefault("statistics", [values["mean"], values["std"]])
    asked, encoder = settle_precision_of(KNNSettings(**common), encoder)
    settled = settle(asked, encoder)
    arrays = extract_splits(settled, encoder, settled.pooling)
    alone = {
        "knn_leave_one_out": [
            np.concatenate([arrays[0], arrays[2]]),
            np.concatenate([arrays[1], arrays[3]]),
        ],
        "knn_leave_one_out_train": arrays[:2],
    }
    scores = {}
    for protocol, options in study.protocols.items():
        if protocol == "knn":
            found = evaluation.knn_scores(*arrays, **options)
            scores[protocol] = next(iter(found.values()))["accuracy"]
        elif protocol in alone:
            found = evaluation.knn_leave_one_out_scores(
                *alone[protocol], **options
            )
            scores[protocol] = next(iter(found.values()))["accuracy"]
        elif protocol == "logistic_probe":
            scores[protocol] = evaluation.logistic_regression_accuracy(
                *arrays, **options
            )
        elif protocol == "few_shot":
            found = evaluation.few_shot_accuracy(
                *arrays, seed=planned.seed, **options
            )
            for shots, each in found.items():
                scores[f"few_shot_{shots}"] = each["mean"]
        else:
            tuned = settle(FineTuneSettings(**common, **options), encoder)
            scores[protocol] = score_fine_tuning(tuned, encoder, "pretrained")[
                "accuracy"
            ]
    return scores


def processor_name():
    """Reads the name of the processor.

    Returns:
        str. On Linux the model, elsewhere what Python knows.
    """
    try:
        text = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        text = ""
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.processor() or platform.machine()


def _on_this_backend(planned):
    """Gives the run a folder that another backend does not go on with."""
    run_dir = f"{planned.settings.run_dir}_{keras.config.backend()}"
    settings = dataclasses.replace(planned.settings, run_dir=run_dir)
    return planned._replace(settings=settings)


def _encoder_of(planned):
    """The encoder of the finished run, and the normalization of its images."""
    settings = planned.settings
    if not planned.is_trained:
        keras.utils.set_random_seed(settings.seed)
        with precision(settings.precision):
            train, _ = load_data(settings)
            shape = data.example_images(train, 1).shape[1:]
            return build_model(settings, shape).encoder, train.normalization
    folder = RunFolder(settings.run_dir)
    started = folder.has_run()
    if started:
        stored = dataclasses.asdict(read_settings(settings.run_dir))
        check_same_settings(planned, stored, settings.run_dir)
    model = run(settings, resume=started, clock=TrainingClock())
    return model.encoder, folder.read_normalization()


def _read_training(run_dir):
    """The course of the masks, and what the training took, from the log."""
    log = read_log(RunFolder(run_dir).log)
    epochs = len(log["epoch"])
    found = {
        "epochs": epochs,
        "processor_seconds": round(float(log["processor_seconds"].sum()), 2),
        "wall_seconds": round(float(log["wall_seconds"].sum()), 2),
        # The first epochs compile.
        "steady_processor_seconds": round(
            float(epochs * np.median(log["processor_seconds"])), 2
        ),
        "loss": _rounded(log["loss"]),
    }
    difficulty = log.get("val_mask_difficulty", log.get("mask_difficulty"))
    if difficulty is not None:
        found["mask_difficulty"] = _rounded(difficulty)
        found["curriculum_factor"] = _rounded(log["curriculum_factor"])
    return found


def _rounded(values):
    return [round(float(value), 4) for value in values]


def _stored_settings(planned):
    settings = dataclasses.asdict(planned.settings)
    if not planned.is_trained:
        settings["epochs"] = 0
    return {
        name: value
        for name, value in settings.items()
        if name not in NOT_DECISIVE
    }
