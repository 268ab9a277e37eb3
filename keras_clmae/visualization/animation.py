"""Animate the mask of one image over training."""

import io

from keras_clmae.saving.atomic_write import atomic_write
from keras_clmae.visualization.panels import panel_grid
from keras_clmae.visualization.rgb import visible_image
from keras_clmae.visualization.scores import SCALE_WIDTH
from keras_clmae.visualization.scores import are_shares
from keras_clmae.visualization.scores import score_scale
from keras_clmae.visualization.scores import show_scores

# The eye needs a moment at both ends.
_FRAME_MS, _END_MS = 350, 1500


def mask_animation(
    path, image, snapshots, rgb, grid_size, index=0, factors=None
):
    """Writes a GIF of one image's mask and reconstruction over training.

    Args:
        path: str. Path of the GIF, which is whole or absent.
        image: float array of shape (height, width, channels), as the model saw
            it.
        snapshots: dict from finished epochs to arrays, as
            `keras_clmae.callbacks.load_snapshots` gives it.
        rgb: callable. Maps images to RGB images, as `rgb_function` gives it.
        grid_size: tuple of int. (rows, columns) of patches in an image.
        index: int. Place of the image in the snapshots. Defaults to `0`.
        factors: dict from finished epochs to curriculum factors, shown beside
            the epoch. Defaults to `None`.

    Raises:
        ValueError: If there are fewer than two snapshots: nothing would move.

    Example:

    >>> images = np.random.normal(size=(1, 8, 8, 1)).astype("float32")
    >>> arrays = {
    ...     "keep_scores": np.random.uniform(size=(1, 4)),
    ...     "mask": np.array([[0, 1, 1, 1]]),
    ...     "reconstruction": images,
    ... }
    >>> path = os.path.join(tempfile.mkdtemp(), "mask.gif")
    >>> keras_clmae.visualization.mask_animation(
    ...     path, images[0], {0: arrays, 10: arrays},
    ...     keras_clmae.visualization.rgb_function(images), grid_size=(2, 2),
    ... )
    >>> os.path.exists(path)
    True
    """
    if len(snapshots) < 2:
        raise ValueError(
            "`snapshots` must hold at least two epochs to animate. Received: "
            f"epochs {list(snapshots)}"
        )
    factors = factors or {}
    shares = are_shares(
        [arrays["keep_scores"][index] for arrays in snapshots.values()]
    )
    frames = [
        _frame(
            image,
            arrays,
            rgb,
            grid_size,
            index,
            _frame_title(epoch, factors.get(epoch)),
            shares,
        )
        for epoch, arrays in snapshots.items()
    ]
    durations = [_FRAME_MS] * len(frames)
    durations[0] = durations[-1] = _END_MS
    with atomic_write(path) as unfinished:
        frames[0].save(
            unfinished,
            format="GIF",
            save_all=True,
            append_images=frames[1:],
            duration=durations,
            loop=0,
        )


def _frame_title(epoch, factor):
    title = "before training" if epoch == 0 else f"epoch {epoch}"
    return (
        title if factor is None else f"{title}, curriculum factor {factor:+.2f}"
    )


def _frame(image, arrays, rgb, grid_size, index, title, shares):
    import PIL.Image

    figure, (panels,) = panel_grid(
        [""],
        4,
        image.shape[1] / image.shape[0],
        title,
        cell=1.6,
        header=0.2,
        right=SCALE_WIDTH,
    )
    shown = rgb(image)
    panels[0].show(shown)
    heat_map = show_scores(
        panels[1], arrays["keep_scores"][index], grid_size, shares
    )
    panels[2].show(visible_image(shown, arrays["mask"][index], grid_size))
    panels[3].show(rgb(arrays["reconstruction"][index]))
    names = ("image", "keep scores", "visible", "rebuilt")
    for panel, name in zip(panels, names, strict=True):
        panel.write_above(name, fontsize=9)
    score_scale(figure, heat_map, panels, shares, height=0.8)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=75)
    frame = PIL.Image.open(buffer).convert("RGB")
    # One palette per frame: a shared one would tint the heat map.
    return frame.quantize(128)
