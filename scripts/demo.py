"""Pretrains CL-MAE and plain MAE on digits and compares their features.

`bash scripts/demo.sh` runs it in an environment of its own.
"""

import argparse
import os
import sys

os.environ.setdefault("KERAS_BACKEND", "jax")

import keras
from rich.console import Console
from rich.table import Table

from keras_clmae import data
from keras_clmae.evaluation import extract_features
from keras_clmae.evaluation import knn_accuracy
from keras_clmae.runs import load_recipe
from keras_clmae.runs.building import build_model
from keras_clmae.runs.folder import RunFolder
from keras_clmae.runs.pretraining import run
from keras_clmae.runs.settings import settings_to_run


def knn_on_digits(encoder):
    """k-NN accuracy on the held-out digits, in per cent."""
    (train, train_labels), (test, test_labels) = data.load_digits_arrays()
    features = [
        extract_features(encoder, images, pooling="mean", verbose=0)[0]
        for images in (train, test)
    ]
    return 100 * knn_accuracy(
        features[0], train_labels, features[1], test_labels
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
    for method in ("clmae", "mae"):
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
        name = {"clmae": "CL-MAE", "mae": "plain MAE"}[method]
        scores[f"{name}, {settings.epochs} epochs"] = knn_on_digits(
            model.encoder
        )
    table = Table(title="Held-out digits, 20 nearest neighbors")
    table.add_column("encoder")
    table.add_column("right", justify="right")
    for name, score in scores.items():
        table.add_row(name, f"{score:.1f} %")
    console = Console()
    console.print(table)
    folder = RunFolder(os.path.join(options.run_dir, "clmae"))
    for path in (folder.curriculum_figure, folder.masks_figure):
        console.print(path)


def free_folder(name):
    """The name, or with a number where it is taken: no run is overwritten."""
    candidate, number = name, 1
    while os.path.exists(candidate):
        number += 1
        candidate = f"{name}_{number}"
    return candidate


def untrained_encoder(settings):
    """The encoder that pretraining starts from."""
    keras.utils.set_random_seed(settings.seed)
    return build_model(settings, (8, 8, 1)).encoder


if __name__ == "__main__":
    main()
