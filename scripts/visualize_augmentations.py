"""What the transforms make of the pictures of a data set."""

from data_options import Statistics


def augmentations(
    data: str,
    output: str,
    labels: bool = False,
    image_size: int = 224,
    channels: int | None = 3,
    statistics: Statistics = "imagenet",
    count: int = 6,
    draws: int = 2,
    bands: list[int] | None = None,
) -> None:
    """Draws a batch after each transform, a column for each picture.

    Args:
        data: `folder:PATH` or `tfds:NAME`.
        output: Picture file to write.
        labels: Whether the pictures have classes, so that they can be mixed.
        image_size: Side of the pictures in pixels.
        channels: Number of channels that the pictures are converted to.
        statistics: How pixels are standardised: `imagenet` (1 or 3 channels),
            `from_data`, or the lists [mean, std] of one number a channel.
        count: Number of pictures.
        draws: Number of random draws of each transform.
        bands: The one or three channels to show. Defaults to the first three.
    """
    from keras_clmae.data import FineTuneTransform
    from keras_clmae.data import load
    from keras_clmae.visualization import rgb_function
    from keras_clmae.visualization import save_figure
    from keras_clmae.visualization.figures import picture_grid

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
        dataset = load(
            data,
            image_size,
            batch_size=count,
            transform=transform,
            shuffle=False,
            labels=labels,
            channels=channels,
            statistics=statistics,
        )
        # Measured once.
        statistics = dataset.normalization
        for _ in range(repeats):
            batch = next(iter(dataset))
            images = batch[0] if labels else batch
            inverse = dataset.normalization.inverse
            rows.append((name, rgb_function(images, inverse, bands)(images)))
    _, height, width, _ = rows[0][1].shape
    figure, axes = picture_grid(
        [name for name, _ in rows], count, width / height, cell=1.5
    )
    for (_, pictures), places in zip(rows, axes, strict=True):
        for picture, place in zip(pictures, places, strict=False):
            place.imshow(picture)
    save_figure(figure, output)
    print(output)
