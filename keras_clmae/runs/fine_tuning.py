"""Fine-tunes an encoder with labels and scores the classifier.

    python scripts/finetune.py runs/cifar10 folder:cifar10 --baseline random
    python scripts/finetune.py runs/digits digits --images_per_class 10

MAE's recipe; the score is written to a JSON file with everything that decided
it. The baseline trains the same network from scratch in the same way.
"""

import dataclasses
from typing import Literal

import numpy as np
from evaluating import count_classes
from evaluating import image_shape
from evaluating import load_split
from evaluating import load_test_split
from evaluating import run_program


@dataclasses.dataclass
class FineTune:
    """Options of fine-tuning.

    Args:
        epochs: Passes over the images.
        base_learning_rate: Highest learning rate of the head for a batch of
            256 images; it scales with the batch size.
        layer_decay: Factor on the learning rate from a block to the one below.
        weight_decay: AdamW's decay.
        warmup_epochs: Epochs in which the learning rate rises from 0.
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

    epochs: int = 100
    base_learning_rate: float = 5e-4
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

    def protocol_label(self):
        few = f" {self.images_per_class} a class" * bool(self.images_per_class)
        return f"fine-tuning{few} {self.pooling}"


def evaluate(common, own, encoder, which):
    from keras_clmae import evaluation

    train, num_classes = load_training_data(common, own, encoder)
    classifier = evaluation.fine_tune(
        encoder,
        train,
        num_classes,
        batch_size=train.batch_size
        if own.images_per_class
        else common.batch_size,
        epochs=own.epochs,
        base_learning_rate=own.base_learning_rate,
        layer_decay=own.layer_decay,
        weight_decay=own.weight_decay,
        warmup_epochs=own.warmup_epochs,
        drop_path_rate=own.drop_path_rate,
        label_smoothing=own.label_smoothing,
        pooling=own.pooling,
        ema_momentum=own.ema_momentum,
        image_shape=image_shape(common, encoder),
        verbose=common.verbose,
    )
    test = load_test_split(common, encoder, train)
    accuracy = evaluation.classifier_accuracy(classifier, test)
    if own.save and which == "pretrained":
        classifier.save(own.save)
    return {"accuracy": accuracy}


def load_training_data(common, own, encoder):
    """Training batches as the options say, and the number of classes."""
    if own.images_per_class:
        return draw_training_data(common, own, encoder)
    transform = own.augmentation
    if common.data != "digits" and transform == "fine_tune":
        from keras_clmae import data

        transform = data.FineTuneTransform(
            image_shape(common, encoder)[:2],
            magnitude=own.magnitude,
            erasing_rate=own.erasing_rate,
            mixup_alpha=own.mixup_alpha,
            cutmix_alpha=own.cutmix_alpha,
            label_smoothing=own.label_smoothing,
        )
    train = load_split(common, encoder, common.train_split, transform)
    return train, count_classes(train)


def draw_training_data(common, own, encoder):
    """The same number of images of each class, in memory."""
    from keras_clmae import data
    from keras_clmae import evaluation

    fixed_order = load_split(common, encoder, common.train_split)
    labels = getattr(fixed_order, "labels", None)
    if labels is None:
        # A pass of its own, so that only the drawn images are ever held.
        batches = evaluation.iterate_batches(fixed_order, None)
        labels = np.concatenate([labels for _, labels in batches])
    drawn = np.sort(
        evaluation.draw_few_shot(labels, own.images_per_class, common.seed)
    )
    images = []
    start = 0
    for batch, _ in evaluation.iterate_batches(fixed_order, None):
        rows = drawn[(drawn >= start) & (drawn < start + len(batch))] - start
        images.append(batch[rows])
        start += len(batch)
    train = data.array_dataset(
        np.concatenate(images),
        labels[drawn],
        batch_size=min(common.batch_size, len(drawn)),
        seed=common.seed,
        drop_remainder=True,
    )
    train.class_names = getattr(fixed_order, "class_names", None)
    return train, count_classes(fixed_order)


def main(arguments=None):
    return run_program(__doc__, FineTune, evaluate, arguments)


if __name__ == "__main__":
    main()
