"""Draw labeled images for the k-NN accuracy during pretraining."""

import numpy as np

from keras_clmae import data
from keras_clmae import evaluation
from keras_clmae.runs.loading import data_splits
from keras_clmae.runs.loading import source_arguments

_BATCH_SIZE = 64


def labeled_images(settings, normalization):
    """The bank of neighbors and the queries, each as (images, labels).

    Drawn by the seed. Without validation data the queries are images of the
    training data that are not in the bank.

    Args:
        settings: `Settings`.
        normalization: `PixelNormalization` of the training.

    Returns:
        A pair of pairs of arrays.

    Raises:
        ValueError: if the images have no classes.
    """
    num_bank, num_queries = settings.knn_bank, settings.knn_queries
    if settings.data == "digits":
        bank, queries = data.load_digits_arrays()
        return [
            tuple(array[:number] for array in arrays)
            for arrays, number in ((bank, num_bank), (queries, num_queries))
        ]
    training, validation = data_splits(settings)
    bank = _load(settings, normalization, training)
    if validation is not None:
        if not settings.data.startswith("tfds:"):
            validation = {**validation, "class_names": bank.class_names}
        queries = _load(settings, normalization, validation)
        return _take(bank, num_bank), _take(queries, num_queries)
    # As many as there are, in the proportions asked for.
    share = min(1, bank.num_examples / (num_bank + num_queries))
    num_bank, num_queries = (
        max(1, int(number * share)) for number in (num_bank, num_queries)
    )
    images, labels = _take(bank, num_bank + num_queries)
    return (images[:num_bank], labels[:num_bank]), (
        images[num_bank:],
        labels[num_bank:],
    )


def _load(settings, normalization, split):
    try:
        return data.load(
            settings.data,
            image_size=settings.image_size,
            batch_size=_BATCH_SIZE,
            transform=data.EvaluationTransform(
                settings.image_size, settings.evaluation_crop
            ),
            labels=True,
            # Random ones, of all classes.
            shuffle=True,
            drop_remainder=False,
            seed=settings.seed,
            statistics=normalization,
            process_index=0,
            process_count=1,
            **source_arguments(settings),
            **split,
        )
    except ValueError as error:
        raise ValueError(
            "`knn_every` must be left out for images without classes. "
            f"Received: knn_every={settings.knn_every}, data={settings.data} "
            f"({error})"
        ) from error


def _take(dataset, number):
    """The first examples, as arrays."""
    taken, count = [], 0
    for batch in evaluation.iterate_batches(dataset, None):
        taken.append(batch)
        count += len(batch[0])
        if count >= number:
            break
    return tuple(
        np.concatenate(each)[:number] for each in zip(*taken, strict=True)
    )
