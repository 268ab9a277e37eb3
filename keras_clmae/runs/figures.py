"""Pictures of a pretraining run, from its folder.

Keras and its backend load when a picture is drawn, so that --help answers at
once.
"""

import os

NUM_IMAGES = 8


def masks(
    run_dir: str,
    output: str | None = None,
    epoch: int | None = None,
    count: int = NUM_IMAGES,
    bands: list[int] | None = None,
) -> None:
    """Draws images, their keep scores, visible patches and reconstructions.

    Args:
        run_dir: Folder of a CL-MAE run, finished or not.
        output: Picture file to write. Defaults to masks_now.png in the run
            folder.
        epoch: Checkpoint to look at. Defaults to the newest state.
        count: Number of images.
        bands: The one or three channels to show. Defaults to the run's.
    """
    from keras_clmae import visualization

    run = _Run(run_dir, count, bands)
    run.check_has_masks()
    path = output or os.path.join(run_dir, "masks_now.png")
    model, name = run.model(epoch)
    visualization.save_figure(
        visualization.masks_figure(
            run.images,
            visualization.reconstruct_arrays(model, run.images),
            run.rgb,
            model.encoder.grid_size,
            f"Learned masks, {name}",
        ),
        path,
    )
    print(path)


def animation(
    run_dir: str,
    output: str | None = None,
    image: int = 0,
    bands: list[int] | None = None,
) -> None:
    """Animates the mask of one image over training, as a GIF.

    Its frames come from the run's gallery of masks and from its checkpoints.

    Args:
        run_dir: Folder of a CL-MAE run, finished or not.
        output: GIF to write. Defaults to masks.gif in the run folder.
        image: Which of the gallery's images, 0 first.
        bands: The one or three channels to show. Defaults to the run's.
    """
    run = _Run(run_dir, NUM_IMAGES, bands)
    run.check_has_masks()
    path = output or os.path.join(run_dir, "masks.gif")
    _animate(run, path, image)
    print(path)


def reconstructions(
    run_dir: str,
    output: str | None = None,
    epoch: int | None = None,
    count: int = NUM_IMAGES,
    bands: list[int] | None = None,
) -> None:
    """Draws reconstructions under learned and under random masks.

    Args:
        run_dir: Folder of a run, finished or not.
        output: Picture file to write. Defaults to reconstructions_now.png in
            the run folder.
        epoch: Checkpoint to look at. Defaults to the newest state.
        count: Number of images.
        bands: The one or three channels to show. Defaults to the run's.
    """
    from keras_clmae import callbacks
    from keras_clmae import visualization

    run = _Run(run_dir, count, bands)
    path = output or os.path.join(run_dir, "reconstructions_now.png")
    model, name = run.model(epoch)
    visualization.save_figure(
        visualization.reconstructions_figure(
            run.images,
            callbacks.reconstruction_blocks(model, run.images),
            run.rgb,
            model.encoder.grid_size,
            f"Reconstructions, {name}",
        ),
        path,
    )
    print(path)


def curriculum(run_dir: str, output: str | None = None) -> None:
    """Draws losses, curriculum factor and mask difficulty on one page.

    Args:
        run_dir: Folder of a run, finished or not.
        output: Picture file to write. Defaults to curriculum.png in the run
            folder.
    """
    from keras_clmae import visualization

    log = os.path.join(run_dir, "log.csv")
    if not os.path.isfile(log):
        raise ValueError(
            "`run_dir` must be the folder of a run, with a log.csv. "
            f"Received: run_dir={run_dir!r}"
        )
    path = output or os.path.join(run_dir, "curriculum.png")
    visualization.save_figure(
        visualization.curriculum_figure(
            visualization.read_log(log),
            os.path.basename(os.path.abspath(run_dir)),
        ),
        path,
    )
    print(path)


def attention(
    run_dir: str,
    output: str | None = None,
    epoch: int | None = None,
    block: int = -1,
    count: int = NUM_IMAGES,
    bands: list[int] | None = None,
) -> None:
    """Draws where the encoder's class token looks.

    Args:
        run_dir: Folder of a run, finished or not.
        output: Picture file to write. Defaults to attention.png in the run
            folder.
        epoch: Checkpoint to look at. Defaults to the newest state.
        block: Index of the transformer block; -1 is the last.
        count: Number of images.
        bands: The one or three channels to show. Defaults to the run's.
    """
    from keras_clmae import visualization

    run = _Run(run_dir, count, bands)
    path = output or os.path.join(run_dir, "attention.png")
    model, name = run.model(epoch)
    visualization.save_figure(
        visualization.attention_figure(
            run.images,
            visualization.class_token_attention(
                model.encoder, run.images, block
            ),
            run.rgb,
            title=f"Attention of the class token, {name}",
        ),
        path,
    )
    print(path)


class _Run:
    """What a run folder holds: settings, images, models, gallery.

    Args:
        run_dir: Folder of the run.
        count: Number of images.
        bands: Channels to show, or `None` for the run's.
    """

    def __init__(self, run_dir, count, bands):
        import keras
        from pretrain import stored_settings
        from pretraining import first_images
        from pretraining import load_data

        from keras_clmae import visualization

        self.settings = stored_settings(run_dir)
        keras.config.set_dtype_policy(self.settings.precision)
        self.train, validation = load_data(self.settings)
        self.images = first_images(validation or self.train, count)
        self.inverse = self.train.normalization.inverse
        self.bands = bands or self.settings.bands
        self.rgb = visualization.rgb_function(
            self.images, self.inverse, self.bands
        )

    def check_has_masks(self):
        """Raises `ValueError` unless the run learns masks."""
        if self.settings.method != "clmae":
            raise ValueError(
                "`run_dir` must be a CL-MAE run: plain MAE learns no masks. "
                f"Received: run_dir={self.settings.run_dir!r}, "
                f"method={self.settings.method!r}"
            )

    def model(self, epoch=None):
        """The model of the run and what to call it.

        Args:
            epoch: int. Number of finished epochs of a checkpoint, or `None` for
                the newest state.
        """
        import keras

        whole = os.path.join(self.settings.run_dir, "model.keras")
        if epoch is None and os.path.isfile(whole):
            name = f"epoch {self.settings.epochs}"
            return keras.saving.load_model(whole, compile=False), name
        checkpoints = self.checkpoints()
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
        """The compiled model that checkpoints are loaded into."""
        from pretraining import build_model
        from pretraining import compile_model

        model = build_model(self.settings, self.images.shape[1:])
        compile_model(model, self.settings, self.train.steps_per_epoch)
        return model

    def checkpoints(self):
        """Dict from finished epochs to paths."""
        from keras_clmae import callbacks

        paths = {}
        for epoch, path in callbacks.list_checkpoints(
            os.path.join(self.settings.run_dir, "checkpoints")
        ):
            # The end of an epoch comes before the steps after it.
            paths.setdefault(epoch, path)
        return paths


def _animate(run, path, image):
    from keras_clmae import callbacks
    from keras_clmae import visualization

    run_dir = run.settings.run_dir
    gallery = os.path.join(run_dir, "masks")
    if os.path.isdir(gallery):
        images, snapshots = callbacks.load_snapshots(gallery)
    else:
        images, snapshots = run.images, {}
    if not 0 <= image < len(images):
        raise ValueError(
            f"`image` must be from 0 to {len(images) - 1}. "
            f"Received: image={image}"
        )
    model, checkpoints = run.untrained(), run.checkpoints()
    for epoch in sorted(set(checkpoints) - set(snapshots)):
        model.load_weights(checkpoints[epoch])
        snapshots[epoch] = visualization.reconstruct_arrays(model, images)
    visualization.mask_animation(
        path,
        images[image],
        dict(sorted(snapshots.items())),
        visualization.rgb_function(images, run.inverse, run.bands),
        model.encoder.grid_size,
        index=image,
        factors=_factors(os.path.join(run_dir, "log.csv")),
    )


def _factors(path):
    """Curriculum factor by finished epochs, as far as the log knows it."""
    from keras_clmae import visualization

    if not os.path.isfile(path):
        return {}
    log = visualization.read_log(path)
    epochs = (log["epoch"] + 1).astype(int)
    return dict(zip(epochs, log["curriculum_factor"], strict=True))
