"""The settings of the evaluations, checked without importing Keras."""

import dataclasses
import os
from typing import Literal

from keras_clmae.runs.checks import check_positive_integer
from keras_clmae.runs.source_settings import OneSplit
from keras_clmae.runs.source_settings import SourceSettings


def _shorten_warmup(settings):
    """Leaves epochs after the warm-up, as pretraining does."""
    if settings.warmup_epochs >= settings.epochs:
        settings.warmup_epochs = settings.epochs // 5


@dataclasses.dataclass
class EvaluationSettings(SourceSettings):
    """The settings that every evaluation, of labeled images, has.

    Args:
        output: JSON file to write. Defaults to a new file in the run folder, or
            in the working directory, named after the protocol, the seed and,
            by a few letters, all other settings.
        baseline: `random` also scores an untrained encoder of the same sizes.
        name: Name of the row in the report. Defaults to the source without its
            seed: runs/cifar10_seed3 is runs/cifar10.
        precision: `float32`, `mixed_bfloat16`, or `auto`: the latter where
            device and backend are faster with it. Features are float32 in any
            case. Defaults to the encoder's own.
        train_split: Split to learn from.
        test_split: Split to score.
    """

    output: str | None = None
    baseline: Literal["random"] | None = None
    name: str | None = None
    precision: Literal["float32", "mixed_bfloat16", "auto"] | None = None
    train_split: str = "train"
    test_split: str = "test"


@dataclasses.dataclass
class KNNSettings(EvaluationSettings):
    """The settings of k-NN.

    Args:
        protocol: `cosine_weighted` as in DINO, or `clmae` as in CL-MAE.
        k: Number of neighbors, or several; the first is the report's score.
            Defaults to the protocol's own, 20 or 5.
        pooling: `mean`, `class_token` or `mean_before_norm`.
        temperature: Temperature of the votes, for `cosine_weighted`.
    """

    protocol: Literal["cosine_weighted", "clmae"] = "cosine_weighted"
    k: int | list[int] | None = None
    pooling: Literal["mean", "class_token", "mean_before_norm"] = "mean"
    temperature: float = 0.07

    def __post_init__(self):
        super().__post_init__()
        if isinstance(self.k, int):
            self.k = [self.k]
        # Features would be extracted first.
        for each in self.k or ():
            check_positive_integer("k", each)

    def protocol_label(self):
        """Name of the measurement for the report, a str."""
        from keras_clmae.evaluation.knn import KNN_PROTOCOLS

        k = (self.k or [KNN_PROTOCOLS[self.protocol]])[0]
        return f"knn {self.protocol} k={k} {self.pooling}"


@dataclasses.dataclass
class LinearProbeSettings(EvaluationSettings):
    """The settings of the linear probe.

    Args:
        solver: `logistic_regression` (scikit-learn, quick), `lars` (MAE's
            protocol) or `sgd` (the same, for few images).
        pooling: `mean`, `class_token` or `mean_before_norm`.
        augment: Train on images that are cropped and flipped anew in every
            epoch, instead of on features that are computed once. The crops
            are those of pretraining, 20 to 100 % of the area.
        few_shot: Logistic regression on 1, 2, 4, 8 and 16 images per class; the
            score in the report is the mean of the largest number.
        shots: Images per class for `few_shot`.
        num_draws: Draws of images for each of `shots`.
        base_learning_rate: Highest learning rate for a batch of 256 images.
        probe_batch_size: Images in a step of the probe.
        epochs: Passes over the images.
        warmup_epochs: Epochs in which the learning rate rises from 0; a fifth
            of `epochs` where it is not below them.
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

    def __post_init__(self):
        super().__post_init__()
        _shorten_warmup(self)

    def protocol_label(self):
        """Name of the measurement for the report, a str."""
        if self.few_shot:
            return f"few-shot {self.shots[-1]} a class {self.pooling}"
        augmented = " augmented" if self.augment else ""
        return f"linear probe {self.solver}{augmented} {self.pooling}"


@dataclasses.dataclass
class FineTuneSettings(EvaluationSettings):
    """The settings of fine-tuning.

    Args:
        task: `classification`, or `segmentation`: a class for every pixel, of
            a folder of images with `masks`.
        masks: Folder of masks, whose paths are those of the images. Both have
            folders of the splits in them; without, a fifth of the images,
            drawn by the seed, is scored. `data_arguments` may then be
            `num_classes`, `class_names`, `ignore_label` and `mask_suffix`.
        epochs: Passes over the images.
        base_learning_rate: Highest learning rate of the head for a batch of
            256 images; it scales with the batch size. Defaults to 5e-4, and to
            2e-3 for segmentation.
        layer_decay: Factor on the learning rate from a block to the one below.
        weight_decay: AdamW's decay.
        warmup_epochs: Epochs in which the learning rate rises from 0; a fifth
            of `epochs` where it is not below them.
        drop_path_rate: Stochastic depth of the last block.
        label_smoothing: Share of a label that is spread over all classes.
        pooling: `mean_before_norm` (with a norm of its own, as MAE), `mean` or
            `class_token`.
        ema_momentum: Ends with the moving average of the weights; 0.9999 is
            common for long runs.
        augmentation: `fine_tune` (crops, flips, RandAugment, random erasing,
            MixUp and CutMix), `pretrain` (crops and flips) or `evaluation`
            (none). The digits are never augmented.
        magnitude: RandAugment's, 0 to 30; 0 leaves it out.
        erasing_rate: Share of images of which a rectangle is erased.
        mixup_alpha: Beta distribution of MixUp; 0 leaves it out.
        cutmix_alpha: Beta distribution of CutMix; 0 leaves it out.
        images_per_class: Trains on so many images of each class only, drawn
            by the seed, held in memory and not augmented.
        save: `.keras` file for the classifier.
    """

    task: Literal["classification", "segmentation"] = "classification"
    masks: str | None = None
    epochs: int = 100
    base_learning_rate: float | None = None
    layer_decay: float = 0.75
    weight_decay: float = 0.05
    warmup_epochs: int = 5
    drop_path_rate: float = 0.1
    label_smoothing: float = 0.1
    pooling: Literal["mean_before_norm", "mean", "class_token"] = (
        "mean_before_norm"
    )
    ema_momentum: float | None = None
    augmentation: Literal["fine_tune", "pretrain", "evaluation"] = "fine_tune"
    magnitude: float = 9.0
    erasing_rate: float = 0.25
    mixup_alpha: float = 0.8
    cutmix_alpha: float = 1.0
    images_per_class: int | None = None
    save: str | None = None

    def __post_init__(self):
        super().__post_init__()
        _shorten_warmup(self)
        segments = self.task == "segmentation"
        if self.base_learning_rate is None:
            self.base_learning_rate = 2e-3 if segments else 5e-4
        if segments and (not self.data.startswith("folder:") or not self.masks):
            raise ValueError(
                "`task=segmentation` needs a folder of images as `data` and "
                f"one of masks as `masks`. Received: data={self.data!r}, "
                f"masks={self.masks!r}"
            )
        if self.masks and not segments:
            raise ValueError(
                "`masks` must be left out with `task=classification`. "
                f"Received: masks={self.masks!r}"
            )
        if segments and self.images_per_class:
            raise ValueError(
                "`images_per_class` must be left out with `task=segmentation`. "
                f"Received: images_per_class={self.images_per_class}"
            )

    def check_paths(self):
        """Raises `ValueError` where a path does not exist."""
        super().check_paths()
        if self.masks is not None and not os.path.isdir(self.masks):
            raise ValueError(
                "`masks` must be a folder. Received: "
                f"masks={self.masks!r}, which does not exist"
            )

    def protocol_label(self):
        """Name of the measurement for the report, a str."""
        if self.task == "segmentation":
            return "segmentation, pixel accuracy"
        few = f" {self.images_per_class} a class" * bool(self.images_per_class)
        return f"fine-tuning{few} {self.pooling}"


@dataclasses.dataclass
class MaskStatisticsSettings(OneSplit, SourceSettings):
    """The settings of the mask statistics of a model that learns masks.

    Args:
        output: JSON file to write. Defaults to a new file in the run folder, or
            in the working directory.
        name: Name of what is described. Defaults to the source without its
            seed.
        split: Split of the data.
    """

    output: str | None = None
    name: str | None = None
    split: str = "test"

    def protocol_label(self):
        """Name of the measurement, a str."""
        return "mask statistics"
