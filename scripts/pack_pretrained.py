"""Pack a finished run into the package, as a pretrained model.

    python scripts/pack_pretrained.py RUN NAME RECORD... --data TEXT

RUN is the folder of the run, NAME such as `clmae_micro_patch4_32_cifar10`, and
each RECORD a JSON file with scores of it. `card.json`
says where the weights come from.
"""

import argparse
import csv
import json
import os
import shutil

import keras
import numpy as np
import sklearn.datasets

from keras_clmae import evaluation
from keras_clmae.evaluation.encoder_source import load_source
from keras_clmae.runs.folder import RunFolder
from keras_clmae.runs.settings import read_settings
from keras_clmae.saving import atomic_folder
from keras_clmae.saving import pretrained

_RECIPE = (
    "method",
    "objective",
    "masking_module",
    "initial_factor",
    "final_factor",
    "random_mask_share",
    "batch_size",
    "base_learning_rate",
    "masking_learning_rate",
    "warmup_epochs",
    "crop_scale",
    "flip",
    "precision",
)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run")
    parser.add_argument("name")
    parser.add_argument("records", nargs="+")
    parser.add_argument("--data", required=True, help="the images, in words")
    options = parser.parse_args()
    model = load_source(options.run)
    card = {
        "name": options.name,
        "data": options.data,
        **card_of(options.run, options.records),
        "license": "Apache-2.0",
    }
    card["scores"]["digits_knn_leave_one_out"] = round(
        score_on_digits(model.encoder, options.run), 6
    )
    target = os.path.join(pretrained.FOLDER, options.name)
    with atomic_folder(target) as unfinished:
        pretrained.write_pretrained(model, card, unfinished)
        shutil.copy(RunFolder(options.run).normalization, unfinished)
    print(target)


def score_on_digits(encoder, run):
    """Scores by k-NN on other images: digits, as large as the encoder's."""
    scans = sklearn.datasets.load_digits()
    times = encoder.image_shape[0] // scans.images.shape[1]
    large = np.kron(scans.images / 16, np.ones((times, times)))
    normalization = RunFolder(run).read_normalization()
    images = np.repeat(large[..., None], encoder.image_shape[2], axis=-1)
    images = (images - normalization.mean) / normalization.std
    features, _ = evaluation.extract_features(
        encoder, images.astype("float32"), verbose=0
    )
    scores = evaluation.knn_leave_one_out_scores(features, scans.target, 20)
    return scores[20]["accuracy"]


def card_of(run, records):
    """Collects what the card says about a run."""
    settings = vars(read_settings(run))
    with open(RunFolder(run).log, encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    card = {
        "recipe": {
            name: settings[name]
            for name in _RECIPE
            if settings.get(name) is not None
        },
        "seed": settings["seed"],
        "passes": len(rows),
        "backend": keras.config.backend(),
        "scores": {},
    }
    for path in records:
        with open(path, encoding="utf-8") as file:
            record = json.load(file)
        for name in ("processor", "processor_seconds", "mask_difficulty"):
            if name in record:
                card[name] = record[name]
        scores = record["scores"]
        # Of the command knn, say: one dict for each encoder.
        if "pretrained" in scores:
            scores = {record["protocol"]: scores["pretrained"]["accuracy"]}
        card["scores"] |= scores
    return card


if __name__ == "__main__":
    main()
