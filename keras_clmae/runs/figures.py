"""Draw figures of a pretraining run, from its folder.

Keras and its backend load when a figure is drawn, so that `keras-clmae
visualize --help` answers at once.
"""

import os

from keras_clmae.runs.folder import RunFolder
from keras_clmae.runs.parts import import_classes
from keras_clmae.runs.settings import read_settings

NUM_IMAGES = 8


def masks(
    run_dir: str,
    output: str | None = None,
    epoch: int | None = None,
    count: int = NUM_IMAGES,
    shown_channels: list[int] | None = None,
) -> str:
    """Draws images, their keep scores, visible patches and reconstructions.

    Args:
        run_dir: Folder of a CL-MAE run, finished or not.
        output: Figure to write. Defaults to masks_now.png in the run
            folder.
        epoch: Checkpoint to look at. Defaults to the newest state.
        count: Number of images.
        shown_channels: The one or three channels to show. Defaults to those of
            the run.

    Returns:
        str. Path of the figure.

    Raises:
        ValueError: if there is nothing of this kind to draw.
    """
    from keras_clmae import visualization

    def figure(run, model, name):
        run.check_has_masks(model)
        return visualization.masks_figure(
            run.images,
            visualization.reconstruct_arrays(model, run.images),
            run.rgb,
            model.encoder.grid_size,
            f"Learned masks, {name}",
        )

    path = output or RunFolder(run_dir).masks_now
    return _draw(figure, path, run_dir, epoch, count, shown_channels)


def animation(
    run_dir: str,
    output: str | None = None,
    image: int = 0,
    shown_channels: list[int] | None = None,
) -> str:
    """Animates the mask of one image over training, as a GIF.

    Its frames come from the run's gallery of masks and from its checkpoints.

    Args:
        run_dir: Folder of a CL-MAE run, finished or not.
        output: GIF to write. Defaults to masks.gif in the run folder.
        image: Which of the gallery's images, 0 first.
        shown_channels: The one or three channels to show. Defaults to those of
            the run.

    Returns:
        str. Path of the figure.

    Raises:
        ValueError: if there is nothing of this kind to draw.
    """
    run = _Run(run_dir, NUM_IMAGES, shown_channels)
    path = output or RunFolder(run_dir).animation
    _animate(run, path, image)
    return path


def reconstructions(
    run_dir: str,
    output: str | None = None,
    epoch: int | None = None,
    count: int = NUM_IMAGES,
    shown_channels: list[int] | None = None,
) -> str:
    """Draws reconstructions under learned and under random masks.

    Args:
        run_dir: Folder of a run, finished or not.
        output: Figure to write. Defaults to reconstructions_now.png in
            the run folder.
        epoch: Checkpoint to look at. Defaults to the newest state.
        count: Number of images.
        shown_channels: The one or three channels to show. Defaults to those of
            the run.

    Returns:
        str. Path of the figure.

    Raises:
        ValueError: if there is nothing of this kind to draw.
    """
    from keras_clmae import callbacks
    from keras_clmae import visualization

    def figure(run, model, name):
        return visualization.reconstructions_figure(
            run.images,
            callbacks.reconstruction_blocks(model, run.images),
            run.rgb,
            model.encoder.grid_size,
            f"Reconstructions, {name}",
        )

    path = output or RunFolder(run_dir).reconstructions_now
    return _draw(figure, path, run_dir, epoch, count, shown_channels)


def curriculum(run_dir: str, output: str | None = None) -> str:
    """Draws losses, curriculum factor and mask difficulty on one page.

    Args:
        run_dir: Folder of a run, finished or not.
        output: Figure to write. Defaults to curriculum.png in the run
            folder.

    Returns:
        str. Path of the figure.

    Raises:
        ValueError: if there is nothing of this kind to draw.
    """
    from keras_clmae import visualization
    from keras_clmae.runs.run_figures import drawn_terms

    folder = RunFolder(run_dir)
    if not os.path.isfile(folder.log):
        raise ValueError(
            "`run_dir` must be the folder of a run, with a log.csv. "
            f"Received: run_dir={run_dir!r}"
        )
    path = output or folder.curriculum_figure
    visualization.save_figure(
        visualization.curriculum_figure(
            visualization.read_log(folder.log),
            os.path.basename(os.path.abspath(run_dir)),
            drawn_terms(read_settings(run_dir)) if folder.has_run() else None,
        ),
        path,
    )
    return path


def attention(
    run_dir: str,
    output: str | None = None,
    epoch: int | None = None,
    block: int = -1,
    count: int = NUM_IMAGES,
    shown_channels: list[int] | None = None,
) -> str:
    """Draws where the encoder's class token looks.

    Args:
        run_dir: Folder of a run, finished or not.
        output: Figure to write. Defaults to attention.png in the run
            folder.
        epoch: Checkpoint to look at. Defaults to the newest state.
        block: Index of the transformer block; -1 is the last.
        count: Number of images.
        shown_channels: The one or three channels to show. Defaults to those of
            the run.

    Returns:
        str. Path of the figure.

    Raises:
        ValueError: if there is nothing of this kind to draw.
    """
    from keras_clmae import visualization

    def figure(run, model, name):
        return visualization.attention_figure(
            run.images,
            visualization.class_token_attention(
                model.encoder, run.images, block
            ),
            run.rgb,
            title=f"Attention of the class token, {name}",
        )

    path = output or RunFolder(run_dir).attention_figure
    return _draw(figure, path, run_dir, epoch, count, shown_channels)


class _Run:
    """Reads settings, images, models and gallery of a run folder.

    Args:
        run_dir: Folder of the run.
        count: Number of images.
        shown_channels: Channels to show, or `None` for the run's.
    """

    def __init__(self, run_dir, count, shown_channels):
        from keras_clmae import visualization
        from keras_clmae.data import example_images
        from keras_clmae.runs.loading import load_data

        self.settings = read_settings(run_dir)
        import_classes(self.settings)
        self.folder = RunFolder(run_dir)
        self.train, validation = load_data(self.settings)
        self.images = example_images(validation or self.train, count)
        self.inverse = self.train.normalization.inverse
        self.shown_channels = shown_channels or self.settings.shown_channels
        self.rgb = visualization.rgb_function(
            self.images, self.inverse, self.shown_channels
        )

    def check_has_masks(self, model):
        """Raises `ValueError` unless the model learns masks."""
        if not model.learns_masks:
            raise ValueError(
                "`run_dir` must be a run that learns masks, as CL-MAE does. "
                f"Received: run_dir={self.settings.run_dir!r}, "
                f"method={self.settings.method!r}"
            )

    def model(self, epoch=None):
        """Loads the model of the run.

        Args:
            epoch: int. Number of finished epochs of a checkpoint, or `None` for
                the newest state.

        Returns:
            A pair: the model and what to call its state.
        """
        import keras

        if epoch is None and os.path.isfile(self.folder.model):
            name = f"epoch {self.settings.epochs}"
            whole = keras.saving.load_model(self.folder.model, compile=False)
            return whole, name
        checkpoints = self.folder.list_checkpoints()
        if not checkpoints:
            raise ValueError(
                "`run_dir` must hold model.keras or checkpoints. Received: "
                f"run_dir={self.settings.run_dir!r}"
            )
        epoch = max(checkpoints) if epoch is None else epoch
        if epoch not in checkpoints:
            raise ValueError(
                f"`epoch` must be one of the checkpoints, "
                f"{sorted(checkpoints)}. Received: epoch={epoch}"
            )
        model = self.untrained()
        model.load_weights(checkpoints[epoch])
        return model, f"epoch {epoch}"

    def untrained(self):
        """Makes the compiled model that checkpoints are loaded into."""
        from keras_clmae.runs.building import build_model
        from keras_clmae.runs.building import compile_model
        from keras_clmae.runs.building import precision

        with precision(self.settings.precision):
            model = build_model(self.settings, self.images.shape[1:])
            compile_model(model, self.settings, self.train.steps_per_epoch)
        return model


def _draw(figure, path, run_dir, epoch, count, shown_channels):
    """Draws a figure of the model of a run.

    Args:
        figure: Function from a `_Run`, its model and the name of the model's
            state to a figure.
        path: File to write.
        run_dir: Folder of the run.
        epoch: As in `_Run.model`.
        count: As in `_Run`.
        shown_channels: As in `_Run`.

    Returns:
        `path`.
    """
    from keras_clmae import visualization

    run = _Run(run_dir, count, shown_channels)
    model, name = run.model(epoch)
    visualization.save_figure(figure(run, model, name), path)
    return path


def _animate(run, path, image):
    from keras_clmae import callbacks
    from keras_clmae import visualization

    model = run.untrained()
    run.check_has_masks(model)
    if os.path.isdir(run.folder.masks):
        images, snapshots = callbacks.load_snapshots(run.folder.masks)
    else:
        images, snapshots = run.images, {}
    if not 0 <= image < len(images):
        raise ValueError(
            f"`image` must be from 0 to {len(images) - 1}. "
            f"Received: image={image}"
        )
    checkpoints = run.folder.list_checkpoints()
    for epoch in sorted(set(checkpoints) - set(snapshots)):
        model.load_weights(checkpoints[epoch])
        snapshots[epoch] = visualization.reconstruct_arrays(model, images)
    visualization.mask_animation(
        path,
        images[image],
        dict(sorted(snapshots.items())),
        visualization.rgb_function(images, run.inverse, run.shown_channels),
        model.encoder.grid_size,
        index=image,
        factors=_factors(run.folder.log),
    )


def _factors(path):
    """Curriculum factor by finished epochs, as far as the log knows it."""
    from keras_clmae import visualization

    if not os.path.isfile(path):
        return {}
    log = visualization.read_log(path)
    epochs = (log["epoch"] + 1).astype(int)
    return dict(zip(epochs, log["curriculum_factor"], strict=True))
