"""Scores an encoder by a linear classifier on its frozen features.

    python scripts/linear_probe.py runs/digits digits --baseline random
    python scripts/linear_probe.py runs/cifar10 folder:cifar10 --solver lars
    python scripts/linear_probe.py runs/cifar10 folder:cifar10 --few_shot true

The score is written to a JSON file with everything that decided it.
"""

import dataclasses
from typing import Literal

from evaluating import count_classes
from evaluating import extract_splits
from evaluating import image_shape
from evaluating import load_split
from evaluating import load_test_split
from evaluating import run_program


@dataclasses.dataclass
class LinearProbe:
    """Options of the linear probe.

    Args:
        solver: `logistic_regression` (scikit-learn, quick), `lars` (MAE's
            protocol) or `sgd` (the same, for few images).
        pooling: `mean`, `class_token` or `mean_before_norm`.
        augment: Train on images that are cropped and flipped anew in every
            epoch, instead of on features that are computed once. The crops
            are those of pretraining, 20 to 100 % of the area.
        few_shot: Logistic regression on 1, 2, 4, 8 and 16 images a class; the
            score in the report is the mean of the largest number.
        shots: Images a class for `few_shot`.
        num_draws: Draws of images for each of `shots`.
        base_learning_rate: Highest learning rate for a batch of 256 images.
        probe_batch_size: Images in a step of the probe.
        epochs: Passes over the images.
        warmup_epochs: Epochs in which the learning rate rises from 0.
    """

    solver: Literal["logistic_regression", "lars", "sgd"] = (
        "logistic_regression"
    )
    pooling: Literal["mean", "class_token", "mean_before_norm"] = "mean"
    augment: bool = False
    few_shot: bool = False
    shots: tuple[int, ...] = (1, 2, 4, 8, 16)
    num_draws: int = 5
    base_learning_rate: float = 0.1
    probe_batch_size: int = 1024
    epochs: int = 90
    warmup_epochs: int = 10

    def protocol_label(self):
        if self.few_shot:
            return f"few-shot {self.shots[-1]} a class {self.pooling}"
        augmented = " augmented" if self.augment else ""
        return f"linear probe {self.solver}{augmented} {self.pooling}"


def evaluate(common, own, encoder, which):
    from keras_clmae import evaluation

    if own.augment and not own.few_shot:
        return {"accuracy": _probe_images(common, own, encoder)}
    arrays = extract_splits(common, encoder, own.pooling)
    if own.few_shot:
        by_shots = evaluation.few_shot_accuracy(
            *arrays, own.shots, own.num_draws, common.seed
        )
        return {"accuracy": by_shots[own.shots[-1]]["mean"], "shots": by_shots}
    accuracy = evaluation.linear_probe_accuracy(
        *arrays,
        solver=own.solver,
        base_learning_rate=own.base_learning_rate,
        batch_size=own.probe_batch_size,
        epochs=own.epochs,
        warmup_epochs=own.warmup_epochs,
        seed=common.seed,
    )
    return {"accuracy": accuracy}


def _probe_images(common, own, encoder):
    from keras_clmae import evaluation
    from keras_clmae import models

    common = dataclasses.replace(common, batch_size=own.probe_batch_size)
    train = load_split(common, encoder, common.train_split, "pretrain")
    return evaluation.linear_probe_images(
        models.copy_encoder(encoder, image_shape(common, encoder)),
        train,
        load_test_split(common, encoder, train),
        num_classes=count_classes(train),
        batch_size=own.probe_batch_size,
        pooling=own.pooling,
        solver=own.solver,
        base_learning_rate=own.base_learning_rate,
        epochs=own.epochs,
        warmup_epochs=own.warmup_epochs,
        verbose=common.verbose,
    )


def main(arguments=None):
    return run_program(__doc__, LinearProbe, evaluate, arguments)


if __name__ == "__main__":
    main()
