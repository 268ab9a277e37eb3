"""Pretrain as settings say, into a run folder."""

import dataclasses
import importlib.util
import os
import tempfile

import keras
import numpy as np

from keras_clmae import callbacks
from keras_clmae import data
from keras_clmae import distribution
from keras_clmae.data.augmentation import augment_image
from keras_clmae.kernels import describe_bfloat16
from keras_clmae.runs.building import build_model
from keras_clmae.runs.building import compile_model
from keras_clmae.runs.building import highest_learning_rate
from keras_clmae.runs.building import precision
from keras_clmae.runs.building import settle_precision
from keras_clmae.runs.checks import data_spec
from keras_clmae.runs.choices import choose
from keras_clmae.runs.choices import find_device
from keras_clmae.runs.choices import list_images
from keras_clmae.runs.dry_run import print_dry_run
from keras_clmae.runs.folder import RunFolder
from keras_clmae.runs.loading import NUM_SHOWN_IMAGES
from keras_clmae.runs.loading import load_data
from keras_clmae.runs.own_code import function_name
from keras_clmae.runs.own_code import import_function
from keras_clmae.runs.parts import import_classes
from keras_clmae.runs.run_callbacks import make_callbacks
from keras_clmae.runs.run_callbacks import make_online_knn
from keras_clmae.runs.run_callbacks import own_callbacks
from keras_clmae.runs.run_callbacks import pictures_every
from keras_clmae.runs.run_figures import draw_run_figures
from keras_clmae.runs.settings import needs_choices
from keras_clmae.runs.settings import settings_to_run
from keras_clmae.runs.settings import write_settings
from keras_clmae.runs.stopping import StopRequest
from keras_clmae.runs.summary import print_opening
from keras_clmae.saving import atomic_folder
from keras_clmae.saving import atomic_write
from keras_clmae.saving.preset_files import write_preset
from keras_clmae.trainers import keep_freed_memory


def pretrain(
    data=None,
    run_dir=None,
    resume=False,
    dry_run=False,
    augmentation=None,
    callbacks=None,
    **settings,
):
    """Pretrains CL-MAE, or plain MAE, into a run folder.

    The same as `keras-clmae pretrain`: the same settings, files and resume.
    The first Ctrl-C, or SIGTERM, saves the state and ends the training; a
    second Ctrl-C ends it at once.

    Where neither `preset` nor the sizes in `model` are given, what is left out
    is chosen from the images (of a folder, of shards or of a table) and the
    device, and printed with its reasons.

    Args:
        data: str. Folder of images, or as in `Settings`. Defaults to `None`:
            that of `Settings`.
        run_dir: str. Folder of the run. It must not hold another run.
        resume: bool. Whether to go on from the newest checkpoint of the folder,
            with the settings stored there, whatever else is given. Defaults to
            `False`.
        dry_run: bool. Whether to print what would run, with its counted hours,
            and write nothing. Defaults to `False`.
        augmentation: callable, or its name as in `Settings`, that changes the
            training images; see `keras_clmae.data.PretrainTransform`. A run
            with one that cannot be imported by its name, such as a `lambda`,
            needs it again to be resumed. Defaults to `None`.
        callbacks: list of `keras.callbacks.Callback`, or names as in
            `Settings`. Callbacks themselves are not stored: pass them again to
            resume. Defaults to `None`.
        **settings: the other fields of `Settings`, such as `epochs=60`.
            `load_recipe` gives those of a recipe.

    Returns:
        The trained `CLMAE` or `MaskedAutoencoder`; `None` for `dry_run`.

    Raises:
        ValueError: if a setting is unknown or wrong, the folder holds a run
            already, or there is none to resume.
        ImportError: if matplotlib, tensorboardX or the logger is missing.
        TrainingInterrupted: after the state was saved on request.

    Example:

    ```python
    model = keras_clmae.runs.pretrain("photos", run_dir="runs/photos")

    recipe = keras_clmae.runs.load_recipe("digits")
    recipe["run_dir"] = "runs/mine"
    model = keras_clmae.runs.pretrain(**recipe)


    def add_noise(image, generator):
        return image + generator.normal(0, 5, image.shape)


    model = keras_clmae.runs.pretrain(
        "photos", run_dir="runs/noisy", augmentation=add_noise
    )
    ```
    """
    values = {**settings, "run_dir": run_dir}
    function, own = None, ()
    if callable(augmentation):
        function = augmentation
        values["augmentation"] = function_name(function)
    elif augmentation is not None:
        values["augmentation"] = augmentation
    if data is not None:
        values["data"] = data
    if isinstance(callbacks, (list, tuple)) and all(
        isinstance(each, keras.callbacks.Callback) for each in callbacks
    ):
        own = tuple(callbacks)
    elif callbacks is not None:
        values["callbacks"] = callbacks
    values, chosen = complete(values, resume)
    settings = settings_to_run(values, resume)
    if function is not None and settings.augmentation != values["augmentation"]:
        raise ValueError(
            "`augmentation` must be that of the run to resume, "
            f"{settings.augmentation!r}. Received: {values['augmentation']!r}"
        )
    return run(
        settings,
        resume,
        chosen=chosen,
        dry_run=dry_run,
        augmentation=function,
        own=own,
    )


def complete(values, resume=False):
    """Chooses the settings that are left out, where there is a need to.

    Args:
        values: dict. Arguments of `Settings` that were given.
        resume: bool. Whether a run is resumed, whose settings are stored.

    Returns:
        A pair: the dict, completed, and the list of `Choice`s.

    Raises:
        ValueError: if the images cannot be read.
    """
    if resume or not needs_choices(values):
        return values, []
    images = list_images(
        data_spec(values["data"]),
        values.get("channels"),
        values.get("data_arguments"),
    )
    device = find_device(values.get("simulated_devices"))
    return choose(values, images, device)


def run(
    settings,
    resume=False,
    clock=None,
    chosen=(),
    dry_run=False,
    augmentation=None,
    own=(),
):
    """Pretrains as checked settings say.

    Args:
        settings: `Settings`.
        resume: bool. Whether to go on from the newest checkpoint.
        clock: callback that comes before all others. Defaults to `None`.
        chosen: list of `Choice`s, for the opening table. Defaults to `()`.
        dry_run: bool. Whether to print the opening table and end. Defaults to
            `False`.
        augmentation: callable, that of the settings. Defaults to `None`: it is
            imported by its name.
        own: sequence of callbacks of the user's own, beside those of the
            settings. Defaults to `()`.

    Returns:
        The trained `CLMAE` or `MaskedAutoencoder`; `None` for `dry_run`.
    """
    _check_installed(settings)
    import_classes(settings)
    if augmentation is None and settings.augmentation is not None:
        augmentation = import_function("augmentation", settings.augmentation)
    keep_freed_memory()
    plan = distribution.setup(
        settings.distribution,
        model_devices=settings.model_devices,
        simulated_devices=settings.simulated_devices,
        multi_host=settings.multi_host,
    )
    keras.utils.set_random_seed(settings.seed)
    reason = describe_bfloat16() if settings.precision == "auto" else None
    # Stored as it is here: a run goes on in it wherever it does.
    settings = dataclasses.replace(
        settings, precision=settle_precision(settings.precision)
    )
    with precision(settings.precision):
        train, validation = load_data(settings, augmentation)
        images = data.example_images(validation or train, NUM_SHOWN_IMAGES)
        if augmentation is not None:
            # Before anything is written, not in the first step.
            pixels = train.normalization.inverse(images[0]).astype("float32")
            augment_image(augmentation, pixels, np.random.default_rng(0))
        own = own_callbacks(settings, own)
        model = build_model(settings, images.shape[1:])
        if dry_run:
            print_dry_run(settings, plan, model, train, chosen)
            return None
        compile_model(model, settings, train.steps_per_epoch)
        knn = make_online_knn(settings, train.normalization)
        position = prepare_folder(settings, model, train.normalization, resume)
        inverse = train.normalization.inverse
        if settings.verbose and distribution.is_first_process():
            print_opening(
                settings,
                plan,
                model,
                train,
                position,
                highest_learning_rate(settings),
                reason,
                chosen,
            )
        stop = StopRequest()
        hooks = make_callbacks(
            settings, model, images, inverse, resume, position, stop, knn, own
        )
        if clock is not None:
            hooks.insert(0, clock)
        try:
            with stop.set_by_signals():
                train_from(position, model, settings, train, validation, hooks)
        finally:
            # Also of a training that raised.
            for callback in hooks:
                if hasattr(callback, "close"):
                    callback.close()
        save_model(model, settings.run_dir, train.normalization)
        if distribution.is_first_process() and pictures_every(settings):
            draw_run_figures(settings, model, inverse)
        return model


def _check_installed(settings):
    """Raises `ImportError` before the run, not when it first draws."""
    needed = {"matplotlib": "cli", "tensorboardX": "cli"}
    if settings.logger != "tensorboard":
        needed[settings.logger] = settings.logger
    for module, extra in needed.items():
        if importlib.util.find_spec(module) is None:
            raise ImportError(
                f'A run needs {module}: pip install "keras-clmae[{extra}]"'
            )


def prepare_folder(settings, model, normalization, resume):
    """Writes the settings, or restores the run.

    Args:
        settings: `Settings`.
        model: compiled model.
        normalization: `PixelNormalization` of the training.
        resume: bool. Whether to restore.

    Returns:
        The `TrainingPosition` that the run starts from.
    """
    folder = RunFolder(settings.run_dir)
    if resume:
        restore = (
            callbacks.restore_newest_of_hosts
            if distribution.current_plan().is_over_jax_processes
            else callbacks.restore_newest
        )
        position = restore(model, folder.checkpoints)
        if distribution.is_first_process():
            folder.forget_epochs(position.epoch)
        return position
    if distribution.is_first_process():
        os.makedirs(folder.path, exist_ok=True)
        folder.write_normalization(normalization)
        write_settings(settings)
    return callbacks.TrainingPosition()


def save_model(model, path, normalization):
    """Saves the whole model, and its encoder with the normalization.

    The first process does; file and folder are whole or absent.

    Args:
        model: `CLMAE` or `MaskedAutoencoder`.
        path: str. The run folder.
        normalization: `PixelNormalization` of the training.
    """
    if distribution.is_first_process():
        folder = RunFolder(path)
        with distribution.readable_weights(model):
            with atomic_write(folder.model) as unfinished:
                model.save(unfinished)
            with atomic_folder(folder.encoder) as unfinished:
                write_preset(model.encoder, unfinished)
                RunFolder(unfinished).write_normalization(normalization)
    elif distribution.current_plan().is_over_jax_processes:
        # Reading the weights takes all processes.
        with (
            tempfile.TemporaryDirectory() as unused,
            distribution.readable_weights(model),
        ):
            model.save(os.path.join(unused, "whole.keras"))
            write_preset(model.encoder, unused)


def train_from(position, model, settings, train, validation, chosen):
    """Trains from `position` to the end; a resumed run like any other.

    The order of the images depends on seed and epoch only.

    Args:
        position: `TrainingPosition` that the model's state is of.
        model: compiled model.
        settings: `Settings`.
        train: training batches.
        validation: validation batches, or `None`.
        chosen: callbacks.
    """
    arguments = {
        "validation_data": validation,
        "shuffle": False,
        "callbacks": chosen,
        # `Progress` is among the callbacks.
        "verbose": 0,
    }
    epoch = position.epoch
    train.set_epoch(epoch)
    if position.step:
        if position.step < train.steps_per_epoch:
            model.fit(
                data.remaining_steps(train, position.step),
                initial_epoch=epoch,
                epochs=epoch + 1,
                **arguments,
            )
        else:
            finish_epoch(epoch, model, settings, validation, chosen)
        epoch += 1
        train.set_epoch(epoch)
    model.fit(train, initial_epoch=epoch, epochs=settings.epochs, **arguments)


def finish_epoch(epoch, model, settings, validation, chosen):
    """Does what was left of an epoch that was stopped in its validation."""
    hooks = keras.callbacks.CallbackList(
        chosen, model=model, epochs=settings.epochs
    )
    hooks.on_train_begin()
    # Restores the sums behind the log of the training.
    hooks.on_epoch_begin(epoch)
    logs = (
        model.training_logs()
        if model.learns_masks
        else model.get_metrics_result()
    )
    logs = {name: float(value) for name, value in logs.items()}
    validated = model.evaluate(validation, return_dict=True, verbose=0)
    logs |= {f"val_{name}": value for name, value in validated.items()}
    hooks.on_epoch_end(epoch, logs)
    hooks.on_train_end()
