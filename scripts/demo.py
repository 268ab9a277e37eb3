"""Pretrain CL-MAE and plain MAE on digits and compare their features.

`bash scripts/demo.sh` runs it in an environment of its own.
"""

import argparse
import os
import sys

os.environ.setdefault("KERAS_BACKEND", "jax")

import keras
import numpy as np
from rich.console import Console
from rich.table import Table

from keras_clmae import data
from keras_clmae.evaluation import extract_features
from keras_clmae.evaluation import knn_leave_one_out_scores
from keras_clmae.evaluation import knn_scores
from keras_clmae.runs import load_recipe
from keras_clmae.runs.building import build_model
from keras_clmae.runs.folder import RunFolder
from keras_clmae.runs.pretraining import run
from keras_clmae.runs.settings import settings_to_run
from keras_clmae.visualization import read_log

NEIGHBORS = 20
NAMES = {"clmae": "CL-MAE", "mae": "plain MAE"}


def knn_on_digits(encoder):
    """Scores an encoder by its neighbors, in percent.

    Args:
        encoder: `ViTEncoder`.

    Returns:
        A pair: of the held-out digits among those of the training, and of every
        digit among all others.
    """
    (train, train_labels), (test, test_labels) = data.load_digits_arrays()
    features = [
        extract_features(encoder, images, pooling="mean", verbose=0)[0]
        for images in (train, test)
    ]
    held_out = knn_scores(
        features[0], train_labels, features[1], test_labels, NEIGHBORS
    )
    all_digits = knn_leave_one_out_scores(
        np.concatenate(features),
        np.concatenate([train_labels, test_labels]),
        NEIGHBORS,
    )
    return tuple(
        100 * scores[NEIGHBORS]["accuracy"] for scores in (held_out, all_digits)
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--run_dir",
        default=free_folder(f"runs/demo_{keras.backend.backend()}"),
        help="Folder of both runs and the figures.",
    )
    parser.add_argument(
        "--epochs",
        type=int,
        help="Instead of the recipe's.",
    )
    options = parser.parse_args()
    if options.epochs is not None and options.epochs < 1:
        parser.error(f"--epochs must be at least 1, not {options.epochs}")
    scores = {}
    recipe = load_recipe("digits")
    if options.epochs is not None:
        recipe["epochs"] = options.epochs
    # What the figure of the masks shows.
    recipe["pictures_every"] = max(1, recipe["epochs"] // 2)
    for method, name in NAMES.items():
        settings = settings_to_run(
            {
                **recipe,
                "run_dir": os.path.join(options.run_dir, method),
                "method": method,
                "verbose": 1 if sys.stdout.isatty() else 2,
            }
        )
        if not scores:
            scores["before pretraining"] = knn_on_digits(
                untrained_encoder(settings)
            )
        model = run(settings)
        scores[f"{name}, {settings.epochs} epochs"] = knn_on_digits(
            model.encoder
        )
    console = Console()
    console.print(scores_table(scores))
    folder = RunFolder(os.path.join(options.run_dir, "clmae"))
    console.print(course_of_the_masks(folder))
    for path in (folder.curriculum_figure, folder.masks_figure):
        console.print(path)


def scores_table(scores):
    """Makes the table of the encoders and their scores."""
    table = Table(title=f"Digits, {NEIGHBORS} nearest neighbors: right")
    table.add_column("encoder")
    table.add_column("held-out digits", justify="right")
    table.add_column("all digits, one by one", justify="right")
    for name, percents in scores.items():
        table.add_row(name, *(f"{percent:.1f} %" for percent in percents))
    return table


def course_of_the_masks(folder):
    """Words how mask difficulty went, from the log of the run."""
    difficulty = read_log(folder.log)["val_mask_difficulty"]
    return (
        f"Mask difficulty, above 1 harder than random masks: "
        f"{difficulty[0]:.2f} at first, {difficulty.min():.2f} at its lowest, "
        f"{difficulty[-1]:.2f} at the end."
    )


def free_folder(name):
    """Finds a name that is not taken, so that no run is overwritten.

    Args:
        name: str. A folder.

    Returns:
        str. The name, or with a number where it is taken.
    """
    candidate, number = name, 1
    while os.path.exists(candidate):
        number += 1
        candidate = f"{name}_{number}"
    return candidate


def untrained_encoder(settings):
    """Makes the encoder that pretraining starts from."""
    keras.utils.set_random_seed(settings.seed)
    return build_model(settings, (8, 8, 1)).encoder


if __name__ == "__main__":
    main()
