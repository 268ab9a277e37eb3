"""Take images and labels out of batches of every usual form."""

# TensorFlow Datasets, Hugging Face, and what people write by hand.
IMAGE_KEYS = ("image", "images", "pixel_values", "img")
LABEL_KEYS = ("label", "labels")


def unpack_batch(batch):
    """Returns the images and the labels of a batch.

    Args:
        batch: one of:

            - an array or tensor of images;
            - a tuple or list `(images,)`, `(images, labels)` or `(images,
              labels, sample_weight)`;
            - a dict with images under `"image"`, `"images"`,
              `"pixel_values"` or `"img"`, and labels, if any, under `"label"`
              or `"labels"`, also in a tuple, as Keras passes it on.

    Returns:
        A pair: images, and labels or `None`.

    Raises:
        ValueError: If a dict holds no images under one of these keys.

    Example:

    >>> images = np.zeros((2, 8, 8, 1))
    >>> batch = {"image": images, "label": np.array([0, 1])}
    >>> images, labels = keras_clmae.batches.unpack_batch(batch)
    >>> images.shape, labels.tolist()
    ((2, 8, 8, 1), [0, 1])
    """
    labels = None
    if isinstance(batch, tuple | list):
        labels = batch[1] if len(batch) > 1 else None
        batch = batch[0]
    if not isinstance(batch, dict):
        return batch, labels
    for key in IMAGE_KEYS:
        if key in batch:
            break
    else:
        listed = ", ".join(repr(each) for each in IMAGE_KEYS)
        raise ValueError(
            "Batches that are dictionaries must hold their images under one "
            f"of the keys {listed}. Received: the keys {list(batch)}"
        )
    if labels is None:
        for label_key in LABEL_KEYS:
            labels = batch.get(label_key, labels)
    return batch[key], labels
