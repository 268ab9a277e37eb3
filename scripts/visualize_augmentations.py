"""What the transforms make of the pictures of a data set."""

import matplotlib.pyplot as plt
import numpy as np

from keras_clmae.data import FineTuneTransform
from keras_clmae.data import from_spec


def augmentations(
    data: str,
    output: str,
    labels: bool = False,
    image_size: int = 224,
    channels: int | None = 3,
    count: int = 6,
    draws: int = 2,
) -> None:
    """Draws a batch after each transform, a column for each picture.

    Args:
        data: `folder:PATH` or `tfds:NAME`.
        output: Picture file to write.
        labels: Whether the pictures have classes, so that they can be mixed.
        image_size: Side of the pictures in pixels.
        channels: Number of channels that the pictures are converted to.
        count: Number of pictures.
        draws: Number of random draws of each transform.
    """
    not_mixed = FineTuneTransform(image_size, mixup_alpha=0, cutmix_alpha=0)
    transforms = [
        ("evaluation", "evaluation", 1),
        ("pretrain", "pretrain", draws),
        ("fine_tune,\nnot mixed", not_mixed, draws),
    ]
    if labels:
        transforms.append(("fine_tune", "fine_tune", draws))
    rows = []
    for name, transform, repeats in transforms:
        # In a fixed order, so that a column shows one picture.
        dataset = from_spec(
            data,
            image_size,
            batch_size=count,
            transform=transform,
            shuffle=False,
            labels=labels,
            channels=channels,
        )
        for _ in range(repeats):
            batch = next(iter(dataset))
            images = batch[0] if labels else batch
            rows.append((name, dataset.normalization.inverse(images)))
    figure, axes = plt.subplots(
        len(rows), count, figsize=(1.5 * count, 1.5 * len(rows)), squeeze=False
    )
    for (name, pictures), places in zip(rows, axes, strict=True):
        for picture, place in zip(pictures, places, strict=False):
            place.imshow(np.squeeze(picture), cmap="gray")
        places[0].set_ylabel(name)
    for place in axes.flat:
        place.set(xticks=[], yticks=[])
    figure.tight_layout(pad=0.3)
    figure.savefig(output, dpi=100)
    plt.close(figure)
