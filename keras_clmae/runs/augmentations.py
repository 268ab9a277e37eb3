"""Draw what the transforms make of the images of a data set."""

from keras_clmae.runs.checks import check_data_exists
from keras_clmae.runs.checks import data_spec
from keras_clmae.runs.settings import Statistics


def augmentations(
    data: str,
    output: str,
    labels: bool = False,
    image_size: int = 224,
    channels: int | None = 3,
    statistics: Statistics = "imagenet",
    count: int = 6,
    draws: int = 2,
    shown_channels: list[int] | None = None,
) -> str:
    """Draws a batch after each transform, one column per image.

    Args:
        data: A folder (PATH or folder:PATH) or `tfds:NAME`.
        output: Figure to write.
        labels: Whether the images have classes, so that they can be mixed.
        image_size: Side of the images in pixels.
        channels: Number of channels that the images are converted to.
        statistics: How pixels are standardized: `imagenet` (1 or 3 channels),
            `from_data`, or the lists [mean, std] of one number per
            channel.
        count: Number of images.
        draws: Number of random draws of each transform.
        shown_channels: The one or three channels to show. Defaults to the first
            three.

    Returns:
        str. Path of the figure.

    Raises:
        ValueError: if there is nothing of this kind to draw.
    """
    data = data_spec(data)
    check_data_exists(data)
    from keras_clmae.data import FineTuneTransform
    from keras_clmae.data import load
    from keras_clmae.visualization import rgb_function
    from keras_clmae.visualization import save_figure
    from keras_clmae.visualization.panels import panel_grid

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
        # In a fixed order, so that a column shows one image.
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
            rows.append(
                (name, rgb_function(images, inverse, shown_channels)(images))
            )
    _, height, width, _ = rows[0][1].shape
    figure, panels = panel_grid(
        [name for name, _ in rows], count, width / height, cell=1.5
    )
    for (_, pictures), places in zip(rows, panels, strict=True):
        for picture, panel in zip(pictures, places, strict=False):
            panel.show(picture)
    save_figure(figure, output)
    return output
