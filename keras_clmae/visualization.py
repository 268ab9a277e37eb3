"""Pictures of a training: its curves, its masks, its reconstructions.

Needs matplotlib (`pip install keras-clmae[scripts]`).
"""

import csv

import numpy as np

_BLUE, _ORANGE, _GREY, _GREEN = "#2563eb", "#ea580c", "#6b7280", "#16a34a"
# What stands where a patch was removed.
_REMOVED = np.array([0.86, 0.88, 0.92])


def read_log(path):
    """Reads the CSV log of a run.

    Args:
        path: path of a file that `keras.callbacks.CSVLogger` wrote.

    Returns:
        A dict from the name of the column to a float array, one value an epoch.
    """
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    if not rows:
        raise ValueError(
            f"`path` must have at least one epoch. Received: {path}"
        )
    return {
        name: np.array([float(row[name] or "nan") for row in rows])
        for name in rows[0]
    }


def curves_figure(log, title=""):
    """Draws losses, curriculum factor and mask difficulty over the epochs.

    Args:
        log: dict of arrays, as `read_log` gives it, of a CL-MAE run.
        title: str. Stands above the panels.

    Returns:
        A matplotlib figure of three panels.
    """
    plt = _pyplot()
    epochs = log["epoch"] + 1
    figure, axes = plt.subplots(1, 3, figsize=(12, 3.6), layout="constrained")

    def line(axis, name, label, color, style="-"):
        if name in log:
            axis.plot(epochs, log[name], style, color=color, label=label)

    axis = axes[0]
    line(axis, "loss", "training", _BLUE)
    line(axis, "val_loss", "held out, learned masks", _ORANGE)
    line(axis, "val_random_mask_loss", "held out, random masks", _GREY, "--")
    axis.set_title("Reconstruction loss of the autoencoder")
    axis.legend()

    axis = axes[1]
    line(axis, "curriculum_factor", "curriculum factor", _GREEN)
    axis.axhline(0, color=_GREY, linewidth=0.8)
    axis.set_ylim(-1.15, 1.15)
    axis.set_title("Curriculum and mask difficulty")
    axis.set_ylabel("curriculum factor", color=_GREEN)
    if "val_mask_difficulty" in log:
        right = axis.twinx()
        line(right, "val_mask_difficulty", "mask difficulty", _ORANGE)
        right.axhline(1, color=_ORANGE, linewidth=0.8, linestyle=":")
        right.set_ylabel("loss, learned / random masks", color=_ORANGE)
        right.spines["top"].set_visible(False)

    axis = axes[2]
    line(axis, "masking_reconstruction_loss", "reconstruction", _BLUE)
    line(axis, "gaussian_loss", "gaussian", _ORANGE)
    line(axis, "kl_loss", "kl", _GREEN)
    line(axis, "diversity_loss", "diversity", _GREY)
    axis.set_yscale("log")
    axis.set_title("Terms of the masking module")
    axis.legend(ncols=2)

    for axis in axes:
        axis.set_xlabel("epoch")
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
    if title:
        figure.suptitle(title, x=0.01, ha="left", fontweight="bold")
    return figure


def masks_figure(images, snapshots, inverse, grid_size, title=""):
    """Draws images beside their masks and reconstructions over training.

    Args:
        images: float array of shape (batch, height, width, channels), as the
            model saw them.
        snapshots: dict from finished epochs to arrays, as
            `keras_clmae.callbacks.load_snapshots` gives it.
        inverse: function from such images to uint8 pictures.
        grid_size: (rows, columns) of patches in an image.
        title: str. Stands above the grid.

    Returns:
        A matplotlib figure: a row an image, and for each snapshot the scores,
        the visible patches and the reconstruction.
    """
    plt = _pyplot()
    columns = 1 + 3 * len(snapshots)
    figure, axes = plt.subplots(
        len(images),
        columns,
        figsize=(1.05 * columns, 1.05 * len(images) + 0.9),
        squeeze=False,
        layout="constrained",
    )
    for row, axis in enumerate(axes[:, 0]):
        axis.imshow(_rgb(inverse(images[row])))
    axes[0, 0].set_title("image", fontsize=9)
    for index, (epoch, arrays) in enumerate(snapshots.items()):
        block = axes[:, 1 + 3 * index : 4 + 3 * index]
        name = "start" if epoch == 0 else f"epoch {epoch}"
        for axis, part in zip(
            block[0], ("scores", "visible", "rebuilt"), strict=True
        ):
            axis.set_title(
                f"{name}\n{part}" if part == "visible" else part, fontsize=9
            )
        for row, (scores, visible, rebuilt) in enumerate(block):
            scores.imshow(
                arrays["keep_scores"][row].reshape(grid_size),
                vmin=0,
                vmax=1,
                cmap="viridis",
            )
            picture = _rgb(inverse(images[row]))
            removed = _pixel_mask(arrays["mask"][row], grid_size, picture)
            visible.imshow(np.where(removed, _REMOVED, picture))
            rebuilt.imshow(_rgb(inverse(arrays["images"][row])))
    for axis in axes.flat:
        axis.set_xticks([])
        axis.set_yticks([])
        axis.spines[:].set_color("#d1d5db")
    if title:
        figure.suptitle(title, x=0.01, ha="left", fontweight="bold")
    return figure


def save_figure(figure, path):
    """Writes a figure as a picture and closes it.

    Args:
        figure: matplotlib figure.
        path: path of the picture; the ending gives the format.
    """
    figure.savefig(path, dpi=150)
    _pyplot().close(figure)


def _pyplot():
    try:
        import matplotlib
    except ImportError:
        raise ImportError(
            "Pictures need matplotlib: pip install keras-clmae[scripts]"
        ) from None
    # No window: pictures are written to files.
    matplotlib.use("agg")
    import matplotlib.pyplot

    return matplotlib.pyplot


def _rgb(picture):
    """A uint8 picture of any number of channels as RGB in [0, 1]."""
    picture = np.asarray(picture, "float32") / 255
    if picture.shape[-1] < 3:
        return np.repeat(picture[..., :1], 3, axis=-1)
    return picture[..., :3]


def _pixel_mask(mask, grid_size, picture):
    """The mask of the patches as a boolean mask of the picture's pixels."""
    size = picture.shape[0] // grid_size[0]
    mask = mask.reshape(grid_size).repeat(size, axis=0).repeat(size, axis=1)
    return mask[..., None] > 0.5
