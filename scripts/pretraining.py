"""What a pretraining run does once its settings are known."""

import csv
import dataclasses
import os
import signal
import tempfile
import threading

import jsonargparse
import keras
import numpy as np
from rich.console import Console
from rich.table import Table

import keras_clmae
from keras_clmae import callbacks
from keras_clmae import data
from keras_clmae import distribution
from keras_clmae import models
from keras_clmae import visualization
from keras_clmae.optimizers import warmup_cosine
from keras_clmae.trainers import NO_WEIGHT_DECAY

# Images in the picture of masks.
NUM_PICTURES = 6


def run(settings, resume=False):
    """Pretrains as `settings` say and returns the model.

    Args:
        settings: `pretrain.Settings`.
        resume: bool. Whether to go on from the newest checkpoint.

    Returns:
        The trained `CLMAE` or `MaskedAutoencoder`.
    """
    plan = distribution.setup(
        settings.distribution,
        model_devices=settings.model_devices,
        simulated_devices=settings.simulated_devices,
        multi_host=settings.multi_host,
    )
    if plan.strategy == "model" and plan.process_count > 1:
        raise ValueError(
            "`distribution` must be `data` with several processes: none of "
            "them could write model.keras. "
            f"Received: model, {plan.process_count} processes"
        )
    keras.utils.set_random_seed(settings.seed)
    keras.config.set_dtype_policy(settings.precision)
    train, validation = load_data(settings, plan)
    images = first_images(validation or train)
    model = build_model(settings, images.shape[1:])
    compile_model(model, settings, train.steps_per_epoch)
    position = prepare_folder(settings, model, resume)
    if distribution.is_first_process():
        print_summary(settings, plan, model, train, position)
    chosen = make_callbacks(settings, images, resume, position)
    train_from(position, model, settings, train, validation, chosen)
    save_whole(model, os.path.join(settings.run_dir, "model.keras"))
    if distribution.is_first_process():
        if settings.method == "clmae":
            draw_pictures(settings, model, images, train.normalization.inverse)
    return model


def load_data(settings, plan):
    """Makes the training and validation batches; the latter may be `None`."""
    batch_size = plan.local_batch_size(settings.batch_size)
    # On several devices every batch splits evenly, those of validation too.
    even = {"drop_remainder": True} if plan.batch_parts > 1 else {}
    if settings.data == "digits":
        return (
            data.digits(batch_size, "train", seed=settings.seed),
            data.digits(batch_size, "test", **even),
        )

    def load(transform, **arguments):
        return data.from_spec(
            settings.data,
            image_size=settings.image_size,
            batch_size=batch_size,
            seed=settings.seed,
            transform=transform,
            **arguments,
        )

    if settings.validation is None:
        return load("pretrain"), None
    if isinstance(settings.validation, str):
        return load("pretrain"), load(
            "evaluation", split=settings.validation, **even
        )
    share = {"validation_split": settings.validation}
    return (
        load("pretrain", **share, subset="training"),
        load("evaluation", **share, subset="validation", **even),
    )


def train_from(position, model, settings, train, validation, chosen):
    """Trains from `position` to the end; a resumed run like any other.

    The order of the images depends on seed and epoch only.

    Args:
        position: `TrainingPosition` that the model's state is of.
        model: compiled model.
        settings: `pretrain.Settings`.
        train: training batches.
        validation: validation batches, or `None`.
        chosen: callbacks.
    """
    arguments = {
        "validation_data": validation,
        "shuffle": False,
        "callbacks": chosen,
        "verbose": settings.verbose if distribution.is_first_process() else 0,
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
        if settings.method == "clmae"
        else model.get_metrics_result()
    )
    logs = {name: float(value) for name, value in logs.items()}
    validated = model.evaluate(validation, return_dict=True, verbose=0)
    logs |= {f"val_{name}": value for name, value in validated.items()}
    hooks.on_epoch_end(epoch, logs)
    hooks.on_train_end()


def first_images(batches):
    """The images of the first batch, as many as the pictures show."""
    batch = next(iter(batches))
    images, _, _ = keras.utils.unpack_x_y_sample_weight(batch)
    return np.asarray(images[:NUM_PICTURES])


def build_model(settings, image_shape):
    """Makes the model for images of `image_shape`."""
    model_class = {"clmae": models.CLMAE, "mae": models.MaskedAutoencoder}[
        settings.method
    ]
    sizes = {**settings.model, "image_shape": tuple(image_shape)}
    if settings.preset is None:
        return model_class.from_sizes(seed=settings.seed, **sizes)
    return model_class.from_preset(
        model_class.preset_prefix + settings.preset,
        load_weights=False,
        seed=settings.seed,
        **sizes,
    )


def highest_learning_rate(settings):
    """The learning rate after warm-up, of the global batch."""
    if not settings.scale_learning_rate:
        return settings.base_learning_rate
    # The rule of MAE's appendix A.1 (https://arxiv.org/abs/2111.06377), from
    # https://arxiv.org/abs/1706.02677.
    return settings.base_learning_rate * settings.batch_size / 256


def compile_model(model, settings, steps_per_epoch):
    """Compiles with MAE's optimizer and the curriculum of the settings."""
    total_steps = settings.epochs * steps_per_epoch

    def adamw(learning_rate):
        return keras.optimizers.AdamW(
            learning_rate, weight_decay=settings.weight_decay, beta_2=0.95
        )

    optimizer = adamw(
        warmup_cosine(
            highest_learning_rate(settings),
            total_steps,
            settings.warmup_epochs * steps_per_epoch,
        )
    )
    common = {
        "jit_compile": settings.jit_compile,
        "steps_per_execution": settings.steps_per_execution,
    }
    if settings.method == "mae":
        optimizer.exclude_from_weight_decay(var_names=list(NO_WEIGHT_DECAY))
        model.compile(optimizer, **common)
        # Restoring needs its variables to exist.
        optimizer.build(model.trainable_variables)
        return
    masking_optimizer = None
    if settings.masking_learning_rate is not None:
        masking_optimizer = adamw(settings.masking_learning_rate)
    model.compile(
        optimizer,
        masking_optimizer,
        curriculum=make_curriculum(settings, total_steps, steps_per_epoch),
        masking_update_period=settings.masking_update_period,
        update=settings.update,
        **common,
    )


def make_curriculum(settings, total_steps, steps_per_epoch):
    """Makes the curriculum that the settings name."""
    if settings.curriculum == "constant":
        return keras_clmae.ConstantCurriculum(settings.initial_factor)
    ends = (settings.initial_factor, settings.final_factor)
    if settings.curriculum == "cosine":
        return keras_clmae.CosineCurriculum(total_steps, *ends)
    per_epoch = settings.curriculum == "linear_per_epoch"
    return keras_clmae.LinearCurriculum(
        total_steps,
        *ends,
        steps_per_epoch=steps_per_epoch if per_epoch else None,
    )


def prepare_folder(settings, model, resume):
    """Writes the settings, or restores the run; gives where it starts."""
    config_path = os.path.join(settings.run_dir, "config.yaml")
    if resume:
        restore = (
            callbacks.restore_newest_of_hosts
            if distribution.current_plan().is_over_jax_processes
            else callbacks.restore_newest
        )
        position = restore(model, os.path.join(settings.run_dir, "checkpoints"))
        if distribution.is_first_process():
            _forget_epochs(
                os.path.join(settings.run_dir, "log.csv"), position.epoch
            )
        return position
    if distribution.is_first_process():
        os.makedirs(settings.run_dir, exist_ok=True)
        text = jsonargparse.ArgumentParser()
        text.add_class_arguments(type(settings))
        unfinished = f"{config_path}.unfinished"
        text.save(
            text.parse_object(dataclasses.asdict(settings)),
            unfinished,
            overwrite=True,
        )
        os.replace(unfinished, config_path)
    return callbacks.TrainingPosition()


def _forget_epochs(path, epoch):
    """Drops the rows of epochs that will be run again, and torn ones."""
    if not os.path.exists(path):
        return
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    width = len(rows[0]) if rows else 0
    kept = [
        row for row in rows[1:] if len(row) == width and int(row[0]) < epoch
    ]
    if not kept:
        # The header, too, may be torn.
        os.remove(path)
        return
    unfinished = f"{path}.unfinished"
    with open(unfinished, "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([rows[0], *kept])
    os.replace(unfinished, path)


def make_callbacks(settings, images, resume, position):
    """The log, the pictures' snapshots and, last, the checkpoint.

    Of several processes the first one does all this, and from now on SIGTERM
    ends the run at its next step, with the state saved. Several JAX processes
    save together, at the end of epochs only.
    """

    def path(name):
        return os.path.join(settings.run_dir, name)

    together = distribution.current_plan().is_over_jax_processes
    chosen = []
    if distribution.is_first_process():
        chosen = [
            keras.callbacks.CSVLogger(path("log.csv"), append=resume),
            callbacks.TensorBoardScalars(path("tensorboard")),
        ]
    schedule = {"every": settings.checkpoint_every, "keep": settings.keep}
    if together:
        return [
            *chosen,
            callbacks.HostsCheckpoint(path("checkpoints"), **schedule),
        ]
    stop = threading.Event()
    if threading.current_thread() is threading.main_thread():
        # The others end when the first one has.
        signal.signal(signal.SIGTERM, lambda *_: stop.set())
    if not distribution.is_first_process():
        return []
    if settings.method == "clmae":
        # Start, middle and end.
        epochs = (0, max(settings.epochs // 2, 1), settings.epochs)
        chosen.append(
            callbacks.MaskSnapshots(images, path("snapshots"), epochs)
        )
    # What an epoch left behind is complete before it counts as finished.
    chosen.append(
        callbacks.RunCheckpoint(
            path("checkpoints"),
            **schedule,
            stop_event=stop,
            position=position,
        )
    )
    return chosen


def save_whole(model, path):
    """Saves a `.keras` file that is whole or absent, in the first process."""
    if distribution.is_first_process():
        # Keras asks for the ending.
        unfinished = f"{path.removesuffix('.keras')}_unfinished.keras"
        model.save(unfinished)
        os.replace(unfinished, path)
    elif distribution.current_plan().is_over_jax_processes:
        # Reading the weights takes all processes.
        with tempfile.TemporaryDirectory() as folder:
            model.save(os.path.join(folder, "model.keras"))


def draw_pictures(settings, model, images, inverse):
    """Writes curves.png and masks.png into the run folder."""
    folder = settings.run_dir
    log = visualization.read_log(os.path.join(folder, "log.csv"))
    visualization.save_figure(
        visualization.curves_figure(log, title=_title(settings)),
        os.path.join(folder, "curves.png"),
    )
    snapshots = os.path.join(folder, "snapshots")
    if not os.path.isdir(snapshots):
        # Of several JAX processes none can call the model by itself.
        return
    visualization.save_figure(
        visualization.masks_figure(
            images,
            callbacks.load_snapshots(snapshots),
            inverse,
            model.encoder.grid_size,
            title=_title(settings),
        ),
        os.path.join(folder, "masks.png"),
    )


def _title(settings):
    return f"CL-MAE on {settings.data}, {settings.epochs} epochs"


def print_summary(settings, plan, model, train, position):
    """Prints what is about to run, as one table."""
    autoencoder = model.autoencoder if settings.method == "clmae" else model
    parts = {"encoder": autoencoder.encoder, "decoder": autoencoder.decoder}
    if settings.method == "clmae":
        parts["masking module"] = model.masking_module
    table = Table(show_header=False)
    height, width, channels = autoencoder.image_shape
    rows = {
        "method": settings.method,
        "data": f"{settings.data}, {height} x {width} x {channels}",
        "backend": f"{keras.backend.backend()}, {settings.precision}",
        **{
            f"parameters, {name}": f"{part.count_params():,}"
            for name, part in parts.items()
        },
        "tokens": f"{autoencoder.encoder.num_tokens}, of which "
        f"{autoencoder.num_visible} stay visible",
        "steps": f"{settings.epochs} epochs of {train.steps_per_epoch}"
        + (f", from epoch {position.epoch + 1}" if any(position[:2]) else "")
        + (f", step {position.step + 1}" if position.step else ""),
        "devices": f"{plan.num_devices}, in {plan.process_count} process(es)"
        + (f", {plan.strategy} parallel" if plan.num_devices > 1 else ""),
        "learning rate": "up to "
        f"{highest_learning_rate(settings):g} for batches of "
        f"{settings.batch_size}",
        "run folder": settings.run_dir,
    }
    for name, value in rows.items():
        table.add_row(name, value)
    Console().print(table)
