"""Make the callbacks of a run: progress, logs, galleries, checkpoints."""

import dataclasses
import inspect
import os

import keras

from keras_clmae import callbacks
from keras_clmae import distribution
from keras_clmae.runs.folder import RunFolder
from keras_clmae.runs.online_knn import labeled_images
from keras_clmae.runs.own_code import import_function
from keras_clmae.runs.run_log import RunLog
from keras_clmae.runs.settings import asked_callbacks

# Figures of each gallery in a run, unless the settings say otherwise.
NUM_GALLERIES = 20


def make_online_knn(settings, normalization):
    """`OnlineKNN` as the settings ask for it, or `None`."""
    if settings.knn_every is None:
        return None
    if distribution.current_plan().is_over_jax_processes:
        raise ValueError(
            "`knn_every` must be left out with several JAX processes: one of "
            "them cannot call the model by itself. "
            f"Received: knn_every={settings.knn_every}"
        )
    if not distribution.is_first_process():
        return None
    return callbacks.OnlineKNN(
        *labeled_images(settings, normalization),
        epochs=settings.knn_every,
    )


def own_callbacks(settings, given=()):
    """Makes the callbacks that `callbacks` of the settings names.

    The first process has them; the others have none.

    Args:
        settings: `Settings`.
        given: sequence of callbacks that come behind them. Defaults to `()`.

    Returns:
        List of callbacks.

    Raises:
        ValueError: if a name cannot be imported, or its function fails or makes
            something else.
    """
    made = []
    if not distribution.is_first_process():
        return made
    for name in asked_callbacks(settings):
        make = import_function("callbacks", name)
        try:
            found = make(settings) if _takes_argument(make) else make()
        except Exception as error:
            raise ValueError(
                "`callbacks` must name functions of the settings of the run, "
                "or of nothing, that make callbacks. Received: "
                f"callbacks={name!r}, which raised {type(error).__name__}: "
                f"{error}"
            ) from error
        found = list(found) if isinstance(found, (list, tuple)) else [found]
        for each in found:
            if not isinstance(each, keras.callbacks.Callback):
                raise ValueError(
                    "`callbacks` must name functions that return a "
                    "`keras.callbacks.Callback` or a list of them. Received: "
                    f"callbacks={name!r}, which returned {each!r}"
                )
        made += found
    return [*made, *given]


def _takes_argument(function):
    """Tells whether a function has to be called with an argument."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return False
    return any(
        each.default is each.empty
        and each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)
        for each in parameters
    )


def make_callbacks(
    settings, model, images, inverse, resume, position, stop, knn, own=()
):
    """Progress, the logs, the galleries and, last, the checkpoint.

    Of several processes the first one does all this; the others end when it
    has. When the event `stop` of one is set, all end at the next step, with the
    state saved. Several JAX processes save together.

    Args:
        settings: `Settings`.
        model: compiled model.
        images: array. Those of the galleries.
        inverse: function from standardized images to pixels.
        resume: bool. Whether the logs go on.
        position: `TrainingPosition` that the run starts from.
        stop: `StopRequest`.
        knn: `OnlineKNN` or `None`.
        own: sequence of callbacks of the user's own. Defaults to `()`.

    Returns:
        List of callbacks.
    """
    folder = RunFolder(settings.run_dir)
    # Numbers of these are for the others to show and to write.
    chosen = [callbacks.StepResources()]
    sometimes = []
    if knn is not None:
        chosen.append(knn)
        sometimes.append(knn.name)
    chosen += own
    if distribution.is_first_process():
        if settings.verbose:
            chosen.append(
                callbacks.Progress(
                    settings.batch_size,
                    settings.verbose,
                    show=sometimes,
                    log_name="images_per_second",
                    line_minutes=settings.line_minutes,
                )
            )
        chosen += [
            RunLog(folder.log, append=resume, sometimes=sometimes),
            callbacks.TensorBoardScalars(folder.tensorboard),
            *_experiment_logger(settings, folder),
        ]
    schedule = {
        "every": settings.checkpoint_every,
        "keep": settings.keep,
        "position": position,
    }
    if distribution.current_plan().is_over_jax_processes:
        return [
            *chosen,
            callbacks.HostsCheckpoint(folder.checkpoints, **schedule),
        ]
    checkpoint = callbacks.RunCheckpoint(
        folder.checkpoints, **schedule, stop_event=stop
    )
    if not distribution.is_first_process():
        return [checkpoint]
    galleries = {}
    if pictures_every(settings):
        galleries[folder.reconstructions] = callbacks.ReconstructionGallery
    if pictures_every(settings) and model.learns_masks:
        galleries[folder.masks] = callbacks.MaskGallery
    chosen += [
        gallery(
            images,
            path,
            every=pictures_every(settings),
            inverse=inverse,
            shown_channels=settings.shown_channels,
            tensorboard=os.path.join(
                folder.tensorboard, os.path.basename(path)
            ),
        )
        for path, gallery in galleries.items()
    ]
    # What an epoch left behind is complete before it counts as finished.
    return [*chosen, checkpoint]


def pictures_every(settings):
    """Epochs from one picture to the next; 0 for none."""
    if settings.pictures_every is not None:
        return settings.pictures_every
    return max(settings.epochs // NUM_GALLERIES, 1)


def _experiment_logger(settings, folder):
    """The callback of `logger`, in a list; of TensorBoard there is one."""
    if settings.logger == "tensorboard":
        return []
    logger = {
        "wandb": callbacks.WandbLogger,
        "mlflow": callbacks.MLflowLogger,
    }[settings.logger]
    return [logger(folder.path, dataclasses.asdict(settings))]
