"""Fine-tune and score image segmenters."""

import numpy as np

from keras_clmae.evaluation.fine_tuning import fit_by_protocol
from keras_clmae.evaluation.prediction import iterate_batches
from keras_clmae.models.image_segmenter import ImageSegmenter
from keras_clmae.models.mask_checks import check_masks


def fine_tune_segmenter(
    encoder,
    train_dataset,
    num_classes,
    batch_size,
    epochs=100,
    base_learning_rate=2e-3,
    layer_decay=0.75,
    weight_decay=0.05,
    warmup_epochs=5,
    drop_path_rate=0.1,
    ignore_label=255,
    ema_momentum=None,
    image_shape=None,
    validation_data=None,
    callbacks=(),
    verbose=0,
):
    """Fine-tunes a copy of an encoder with a head that segments images.

    Optimizer and schedule are those of `fine_tune`: AdamW with layer-wise
    learning-rate decay, warm-up, then a cosine down to 1e-6, over the loss of
    `ImageSegmenter`. The learning rate is higher than for classification, as
    more of the head starts from random weights.

    Args:
        encoder: `ViTEncoder`. It stays as it is.
        train_dataset: Batches `(images, masks)`: a `keras.utils.PyDataset` or
            a `tf.data.Dataset` that knows its length, such as
            `data.segmentation_folder` makes. Masks are integers of shape
            `(batch, height, width)`.
        num_classes: int.
        batch_size: int. Images in a batch, which scales the learning rate:
            `base_learning_rate * batch_size / 256`.
        epochs: int. Defaults to 100.
        base_learning_rate: float, of the head, for 256 images. Defaults to
            2e-3.
        layer_decay: float in (0, 1]. See `LayerDecayAdamW`. Defaults to 0.75.
        weight_decay: float. Defaults to 0.05.
        warmup_epochs: int. Defaults to 5; a fifth of the epochs where these
            are no more.
        drop_path_rate: float. Defaults to 0.1.
        ignore_label: int. See `ImageSegmenter`. Defaults to 255.
        ema_momentum: float in (0, 1). Where given, the segmenter ends with the
            exponential moving average of its weights. Defaults to `None`.
        image_shape: tuple of int. (height, width, channels), if other than the
            encoder's.
        validation_data: As in `keras.Model.fit`, with masks.
        callbacks: As in `keras.Model.fit`.
        verbose: 0, 1 or 2, as in `keras.Model.fit`. Defaults to 0.

    Returns:
        A trained, compiled `ImageSegmenter`.

    Raises:
        ValueError: If `train_dataset` does not know its length, or masks that
            can be seen do not fit `num_classes` and `ignore_label`.

    Example:

    >>> import numpy as np, keras_clmae
    >>> encoder = keras_clmae.models.ViTEncoder((8, 8, 1), 2, 16, 2, 2)
    >>> images = np.zeros((8, 8, 8, 1), "float32")
    >>> masks = np.zeros((8, 8, 8), "uint8")
    >>> dataset = keras_clmae.data.ArrayDataset(images, masks)
    >>> segmenter = keras_clmae.evaluation.fine_tune_segmenter(
    ...     encoder, dataset, num_classes=2, batch_size=8, epochs=1,
    ...     warmup_epochs=0,
    ... )
    """
    segmenter = ImageSegmenter(
        encoder,
        num_classes,
        ignore_label=ignore_label,
        drop_path_rate=drop_path_rate,
        image_shape=image_shape,
    )
    fit_by_protocol(
        segmenter,
        train_dataset,
        batch_size,
        epochs,
        base_learning_rate,
        layer_decay,
        weight_decay,
        warmup_epochs,
        ema_momentum,
        {},
        validation_data=validation_data,
        callbacks=list(callbacks),
        verbose=verbose,
    )
    return segmenter


def segmentation_scores(segmenter, dataset, batch_size=8):
    """Scores a segmenter, pixel by pixel, on a whole data set.

    Counts are exact, in 64-bit integers; the logits of only one batch are in
    memory at a time.

    Args:
        segmenter: `ImageSegmenter`.
        dataset: images with masks: a pair of arrays, or anything that gives
            batches `(images, masks)`, as in `extract_features`.
        batch_size: int. Images in a batch where arrays are given. Defaults
            to 8.

    Returns:
        A dictionary: `"mean_iou"`, the mean over the classes that occur in
        masks or predictions; `"pixel_accuracy"`; and `"class_iou"`, a list of
        one float per class, NaN for those that do not occur. Pixels of the
        segmenter's `ignore_label` do not count.

    Raises:
        ValueError: If masks are missing or do not fit the segmenter, or every
            pixel is ignored.

    Example:

    >>> import numpy as np, keras_clmae
    >>> encoder = keras_clmae.models.ViTEncoder((8, 8, 1), 2, 16, 2, 2)
    >>> segmenter = keras_clmae.models.ImageSegmenter(encoder, 1)
    >>> images = np.zeros((8, 8, 8, 1), "float32")
    >>> keras_clmae.evaluation.segmentation_scores(
    ...     segmenter, (images, np.zeros((8, 8, 8), int))
    ... )
    {'mean_iou': 1.0, 'pixel_accuracy': 1.0, 'class_iou': [1.0]}
    """
    num_classes = segmenter.num_classes
    confusion = np.zeros((num_classes, num_classes), "int64")
    for images, masks in iterate_batches(dataset, batch_size):
        if masks is None:
            raise ValueError(
                "`dataset` must give pairs (images, masks). Received: images "
                "alone"
            )
        check_masks("dataset", masks, segmenter)
        classes = segmenter.predict_classes(images, batch_size)
        counted = masks != segmenter.ignore_label
        # Rows are true classes, columns predicted ones.
        pairs = masks[counted].astype("int64") * num_classes + classes[counted]
        counts = np.bincount(pairs, minlength=num_classes**2)
        confusion += counts.reshape(confusion.shape)
    if not confusion.any():
        raise ValueError(
            "`dataset` must hold pixels that count. Received: masks of "
            f"`ignore_label`, {segmenter.ignore_label}, alone"
        )
    hits = np.diagonal(confusion)
    union = confusion.sum(axis=0) + confusion.sum(axis=1) - hits
    class_iou = np.full(num_classes, np.nan)
    np.divide(hits, union, out=class_iou, where=union > 0)
    return {
        "mean_iou": float(np.nanmean(class_iou)),
        "pixel_accuracy": float(hits.sum() / confusion.sum()),
        "class_iou": class_iou.tolist(),
    }


def segmenter_mean_iou(segmenter, dataset, batch_size=8):
    """Computes mean intersection over union on a whole data set.

    Args:
        segmenter: `ImageSegmenter`.
        dataset: As in `segmentation_scores`.
        batch_size: int. Images in a batch where arrays are given. Defaults
            to 8.

    Returns:
        A float in [0, 1]: see `segmentation_scores`.

    Raises:
        ValueError: As in `segmentation_scores`.

    Example:

    >>> import numpy as np, keras_clmae
    >>> encoder = keras_clmae.models.ViTEncoder((8, 8, 1), 2, 16, 2, 2)
    >>> segmenter = keras_clmae.models.ImageSegmenter(encoder, 1)
    >>> images = np.zeros((8, 8, 8, 1), "float32")
    >>> keras_clmae.evaluation.segmenter_mean_iou(
    ...     segmenter, (images, np.zeros((8, 8, 8), int))
    ... )
    1.0
    """
    return segmentation_scores(segmenter, dataset, batch_size)["mean_iou"]
