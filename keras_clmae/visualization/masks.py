"""Draw images, their masks and their reconstructions."""

import numpy as np

from keras_clmae.visualization.figures import GRAY
from keras_clmae.visualization.panels import panel_grid
from keras_clmae.visualization.rgb import pixel_mask
from keras_clmae.visualization.rgb import visible_image
from keras_clmae.visualization.scores import SCALE_WIDTH
from keras_clmae.visualization.scores import are_shares
from keras_clmae.visualization.scores import score_scale
from keras_clmae.visualization.scores import show_scores


def masks_figure(images, arrays, rgb, grid_size, title=""):
    """Draws images above their scores, visible patches and reconstructions.

    Args:
        images: float array of shape (batch, height, width, channels), as the
            model saw them.
        arrays: dict with `keep_scores`, `mask` and `reconstruction`, as
            `reconstruct_arrays` gives it.
        rgb: callable. Maps images to RGB images, as `rgb_function` gives it.
        grid_size: tuple of int. (rows, columns) of patches in an image.
        title: str. Stands above the grid.

    Returns:
        A matplotlib figure, one column per image.

    Example:

    >>> images = np.random.normal(size=(3, 8, 8, 1)).astype("float32")
    >>> arrays = {
    ...     "keep_scores": np.random.uniform(size=(3, 4)),
    ...     "mask": np.array([[0, 1, 1, 1]] * 3),
    ...     "reconstruction": images,
    ... }
    >>> figure = keras_clmae.visualization.masks_figure(
    ...     images, arrays, keras_clmae.visualization.rgb_function(images),
    ...     grid_size=(2, 2),
    ... )
    >>> len(figure.axes[0].images)
    12
    """
    figure, panels = panel_grid(
        ["image", "keep scores", "visible", "rebuilt"],
        len(images),
        _aspect(images),
        title,
        right=SCALE_WIDTH,
    )
    shares = are_shares(arrays["keep_scores"])
    for index, (image, scores, visible, rebuilt) in enumerate(panels.T):
        shown = rgb(images[index])
        image.show(shown)
        heat_map = show_scores(
            scores, arrays["keep_scores"][index], grid_size, shares
        )
        visible.show(visible_image(shown, arrays["mask"][index], grid_size))
        rebuilt.show(rgb(arrays["reconstruction"][index]))
    score_scale(figure, heat_map, panels[1], shares)
    return figure


def reconstructions_figure(images, blocks, rgb, grid_size, title=""):
    """Draws images above their reconstructions under several kinds of masks.

    Args:
        images: float array of shape (batch, height, width, channels), as the
            model saw them.
        blocks: dict from a name, such as `"random masks"`, to a dict with
            `mask` and `reconstruction`, as `reconstruct_arrays` gives it.
        rgb: callable. Maps images to RGB images, as `rgb_function` gives it.
        grid_size: tuple of int. (rows, columns) of patches in an image.
        title: str. Stands above the grid.

    Returns:
        A matplotlib figure, one column per image. Beside each row stands the
        mean squared error over its removed pixels, in units of the model's
        input.

    Example:

    >>> images = np.random.normal(size=(3, 8, 8, 1)).astype("float32")
    >>> arrays = {
    ...     "mask": np.array([[0, 1, 1, 1]] * 3), "reconstruction": images
    ... }
    >>> figure = keras_clmae.visualization.reconstructions_figure(
    ...     images, {"random masks": arrays},
    ...     keras_clmae.visualization.rgb_function(images), grid_size=(2, 2),
    ... )
    >>> len(figure.axes[0].images)
    9
    """
    labels = ["image"]
    for name, arrays in blocks.items():
        error = removed_error(images, arrays, grid_size)
        labels += [name, f"rebuilt\nMSE {error:.3g}"]
    figure, panels = panel_grid(
        labels, len(images), _aspect(images), title, footer=0.3
    )
    for index, column in enumerate(panels.T):
        shown = rgb(images[index])
        column[0].show(shown)
        for number, arrays in enumerate(blocks.values()):
            column[1 + 2 * number].show(
                visible_image(shown, arrays["mask"][index], grid_size)
            )
            column[2 + 2 * number].show(rgb(arrays["reconstruction"][index]))
    lowest = panels[-1, 0]
    lowest.axes.text(
        lowest.left,
        lowest.bottom - 0.1,
        "MSE: mean squared error over the removed pixels,\nas the model sees "
        "them (standardized)",
        va="top",
        fontsize=8,
        color=GRAY,
    )
    return figure


def masks_over_training_figure(images, snapshots, rgb, grid_size, title=""):
    """Draws images beside their masks and reconstructions over training.

    Args:
        images: float array of shape (batch, height, width, channels), as the
            model saw them.
        snapshots: dict from finished epochs to arrays, as
            `keras_clmae.callbacks.load_snapshots` gives it.
        rgb: callable. Maps images to RGB images, as `rgb_function` gives it.
        grid_size: tuple of int. (rows, columns) of patches in an image.
        title: str. Stands above the grid.

    Returns:
        A matplotlib figure, one row per image; for each snapshot it shows the
        scores, the visible patches and the reconstruction.

    Example:

    >>> images = np.random.normal(size=(3, 8, 8, 1)).astype("float32")
    >>> arrays = {
    ...     "keep_scores": np.random.uniform(size=(3, 4)),
    ...     "mask": np.array([[0, 1, 1, 1]] * 3),
    ...     "reconstruction": images,
    ... }
    >>> figure = keras_clmae.visualization.masks_over_training_figure(
    ...     images, {0: arrays, 10: arrays},
    ...     keras_clmae.visualization.rgb_function(images), grid_size=(2, 2),
    ... )
    >>> len(figure.axes[0].images)
    21
    """
    firsts = [1 + 3 * index for index in range(len(snapshots))]
    figure, panels = panel_grid(
        [""] * len(images),
        1 + 3 * len(snapshots),
        _aspect(images),
        title,
        gaps=firsts,
        header=0.5,
        right=SCALE_WIDTH,
    )
    shares = are_shares([each["keep_scores"] for each in snapshots.values()])
    panels[0, 0].write_above("image", fontsize=9)
    for image, panel in zip(images, panels[:, 0], strict=True):
        panel.show(rgb(image))
    for first, (epoch, arrays) in zip(firsts, snapshots.items(), strict=True):
        block = panels[:, first : first + 3]
        _group_title(block[0], "start" if epoch == 0 else f"epoch {epoch}")
        for panel, part in zip(
            block[0], ("keep scores", "visible", "rebuilt"), strict=True
        ):
            panel.write_above(part, fontsize=9)
        for row, (scores, visible, rebuilt) in enumerate(block):
            heat_map = show_scores(
                scores, arrays["keep_scores"][row], grid_size, shares
            )
            visible.show(
                visible_image(rgb(images[row]), arrays["mask"][row], grid_size)
            )
            rebuilt.show(rgb(arrays["reconstruction"][row]))
    score_scale(figure, heat_map, panels[:, -1], shares, height=0.5)
    return figure


def _group_title(panels, name):
    """Writes a name above three panels, and draws a line over all of them."""
    left, middle, right = panels
    height = left.top + 0.24
    middle.axes.plot(
        (left.left, right.right), (height, height), color=GRAY, linewidth=0.8
    )
    middle.axes.text(
        (left.left + right.right) / 2,
        height + 0.04,
        name,
        ha="center",
        fontsize=10,
        fontweight="bold",
    )


def removed_error(images, arrays, grid_size):
    """Computes the mean squared error over the removed pixels.

    Args:
        images: float array of shape (batch, height, width, channels).
        arrays: dict with `mask` and `reconstruction`.
        grid_size: tuple of int. (rows, columns) of patches in an image.

    Returns:
        float, in units of the model's input, squared.
    """
    errors = [
        np.square(rebuilt - image)[
            pixel_mask(mask, grid_size, image.shape[0])[..., 0]
        ]
        for image, rebuilt, mask in zip(
            images, arrays["reconstruction"], arrays["mask"], strict=True
        )
    ]
    return float(np.mean(errors))


def _aspect(images):
    return images.shape[2] / images.shape[1]
