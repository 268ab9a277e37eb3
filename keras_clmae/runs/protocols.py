"""Score an encoder by k-NN, a linear probe or fine-tuning."""

import dataclasses

import numpy as np

from keras_clmae import data
from keras_clmae import evaluation
from keras_clmae import models
from keras_clmae.runs.evaluation_data import count_classes
from keras_clmae.runs.evaluation_data import extract_splits
from keras_clmae.runs.evaluation_data import image_shape
from keras_clmae.runs.evaluation_data import load_split
from keras_clmae.runs.evaluation_data import load_test_split
from keras_clmae.runs.segmentation_data import load_pairs


def score_knn(settings, encoder, which):
    """Scores by k-nearest-neighbor classification.

    Args:
        settings: `KNNSettings` that `settle` has seen.
        encoder: `ViTEncoder`.
        which: str. `"pretrained"` or `"random"`.

    Returns:
        dict with the key `accuracy`.
    """
    scores = evaluation.knn_scores(
        *extract_splits(settings, encoder, settings.pooling),
        k=settings.k,
        protocol=settings.protocol,
        temperature=settings.temperature,
    )
    first = next(iter(scores.values()))
    return {**first, "by_k": scores}


def score_linear_probe(settings, encoder, which):
    """Scores by a linear classifier on frozen features; see `score_knn`."""
    if settings.augment and not settings.few_shot:
        return {"accuracy": _probe_images(settings, encoder)}
    arrays = extract_splits(settings, encoder, settings.pooling)
    if settings.few_shot:
        by_shots = evaluation.few_shot_accuracy(
            *arrays, settings.shots, settings.num_draws, settings.seed
        )
        return {
            "accuracy": by_shots[settings.shots[-1]]["mean"],
            "shots": by_shots,
        }
    accuracy = evaluation.linear_probe_accuracy(
        *arrays,
        solver=settings.solver,
        base_learning_rate=settings.base_learning_rate,
        batch_size=settings.probe_batch_size,
        epochs=settings.epochs,
        warmup_epochs=settings.warmup_epochs,
        seed=settings.seed,
    )
    return {"accuracy": accuracy}


def _probe_images(settings, encoder):
    settings = dataclasses.replace(
        settings, batch_size=settings.probe_batch_size
    )
    train = load_split(settings, encoder, settings.train_split, "pretrain")
    return evaluation.linear_probe_images(
        models.copy_encoder(encoder, image_shape(settings, encoder)),
        train,
        load_test_split(settings, encoder, train),
        num_classes=count_classes(train),
        batch_size=train.batch_size,
        pooling=settings.pooling,
        solver=settings.solver,
        base_learning_rate=settings.base_learning_rate,
        epochs=settings.epochs,
        warmup_epochs=settings.warmup_epochs,
        verbose=settings.verbose,
    )


def score_fine_tuning(settings, encoder, which):
    """Scores by fine-tuning with labels; see `score_knn`."""
    if settings.task == "segmentation":
        return _score_segmentation(settings, encoder, which)
    train, num_classes = load_training_data(settings, encoder)
    classifier = evaluation.fine_tune(
        encoder,
        train,
        num_classes,
        batch_size=train.batch_size,
        epochs=settings.epochs,
        base_learning_rate=settings.base_learning_rate,
        layer_decay=settings.layer_decay,
        weight_decay=settings.weight_decay,
        warmup_epochs=settings.warmup_epochs,
        drop_path_rate=settings.drop_path_rate,
        label_smoothing=settings.label_smoothing,
        pooling=settings.pooling,
        ema_momentum=settings.ema_momentum,
        image_shape=image_shape(settings, encoder),
        verbose=settings.verbose,
    )
    test = load_test_split(settings, encoder, train)
    accuracy = evaluation.classifier_accuracy(classifier, test)
    if settings.save and which == "pretrained":
        classifier.save(settings.save)
    return {"accuracy": accuracy}


def _score_segmentation(settings, encoder, which):
    train, test = load_pairs(settings, image_shape(settings, encoder)[:2])
    segmenter = evaluation.fine_tune_segmenter(
        encoder,
        train,
        train.num_classes,
        batch_size=train.batch_size,
        epochs=settings.epochs,
        base_learning_rate=settings.base_learning_rate,
        layer_decay=settings.layer_decay,
        weight_decay=settings.weight_decay,
        warmup_epochs=settings.warmup_epochs,
        drop_path_rate=settings.drop_path_rate,
        ignore_label=train.ignore_label,
        ema_momentum=settings.ema_momentum,
        image_shape=image_shape(settings, encoder),
        verbose=settings.verbose,
    )
    scores = evaluation.segmentation_scores(segmenter, test)
    if settings.save and which == "pretrained":
        segmenter.save(settings.save)
    return {
        "accuracy": scores["pixel_accuracy"],
        "mean_iou": scores["mean_iou"],
        # JSON has no NaN.
        "class_iou": [
            None if np.isnan(iou) else iou for iou in scores["class_iou"]
        ],
    }


def load_training_data(settings, encoder):
    """Training batches as the options say, and the number of classes."""
    if settings.images_per_class:
        return draw_training_data(settings, encoder)
    transform = settings.augmentation
    if settings.data != "digits" and transform == "fine_tune":
        transform = data.FineTuneTransform(
            image_shape(settings, encoder)[:2],
            magnitude=settings.magnitude,
            erasing_rate=settings.erasing_rate,
            mixup_alpha=settings.mixup_alpha,
            cutmix_alpha=settings.cutmix_alpha,
            label_smoothing=settings.label_smoothing,
        )
    train = load_split(settings, encoder, settings.train_split, transform)
    return train, count_classes(train)


def draw_training_data(settings, encoder):
    """The same number of images of each class, in memory."""
    fixed_order = load_split(settings, encoder, settings.train_split)
    labels = getattr(fixed_order, "labels", None)
    if labels is None:
        # A pass of its own, so that only the drawn images are ever held.
        batches = evaluation.iterate_batches(fixed_order, None)
        labels = np.concatenate([labels for _, labels in batches])
    drawn = np.sort(
        evaluation.draw_few_shot(
            labels, settings.images_per_class, settings.seed
        )
    )
    images = []
    start = 0
    for batch, _ in evaluation.iterate_batches(fixed_order, None):
        rows = drawn[(drawn >= start) & (drawn < start + len(batch))] - start
        images.append(batch[rows])
        start += len(batch)
    train = data.ArrayDataset(
        np.concatenate(images),
        labels[drawn],
        batch_size=min(settings.batch_size, len(drawn)),
        seed=settings.seed,
        drop_remainder=True,
    )
    train.class_names = getattr(fixed_order, "class_names", None)
    return train, count_classes(fixed_order)
