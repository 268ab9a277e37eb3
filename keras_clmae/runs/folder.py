"""The folder of a pretraining run: what it starts from and what it leaves."""

import csv
import dataclasses
import os
import tempfile

import jsonargparse
import keras
from data_options import write_normalization

from keras_clmae import callbacks
from keras_clmae import distribution
from keras_clmae import visualization


def prepare_folder(settings, model, normalization, resume):
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
        write_normalization(settings.run_dir, normalization)
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


class Log(keras.callbacks.CSVLogger):
    """The log, with a column for what is not measured in every epoch.

    And without Keras's columns for validation where there is none.
    """

    def __init__(self, path, append, sometimes=()):
        super().__init__(path, append=append)
        self.sometimes = dict.fromkeys(sometimes, "")

    def on_epoch_end(self, epoch, logs=None):
        logs = {**self.sometimes, **(logs or {})}
        if self.keys is None:
            self.keys = sorted(logs)
        super().on_epoch_end(epoch, logs)


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


def save_whole(model, path):
    """Saves a `.keras` file that is whole or absent, in the first process."""
    if distribution.is_first_process():
        # Keras asks for the ending.
        unfinished = f"{path.removesuffix('.keras')}_unfinished.keras"
        with distribution.readable_weights(model):
            model.save(unfinished)
        os.replace(unfinished, path)
    elif distribution.current_plan().is_over_jax_processes:
        # Reading the weights takes all processes.
        with (
            tempfile.TemporaryDirectory() as folder,
            distribution.readable_weights(model),
        ):
            model.save(os.path.join(folder, "model.keras"))


def draw_pictures(settings, model, inverse):
    """Writes curriculum.png and masks.png into the run folder."""
    folder = settings.run_dir
    method = {"clmae": "CL-MAE", "mae": "MAE"}[settings.method]
    title = f"{method} on {settings.data}, {settings.epochs} epochs"
    log = visualization.read_log(os.path.join(folder, "log.csv"))
    visualization.save_figure(
        visualization.curriculum_figure(log, title),
        os.path.join(folder, "curriculum.png"),
    )
    if settings.method == "mae":
        return
    masks = os.path.join(folder, "masks")
    if not os.path.isdir(masks):
        # Of several JAX processes none can call the model by itself.
        return
    images, snapshots = callbacks.load_snapshots(masks)
    visualization.save_figure(
        visualization.masks_over_training_figure(
            images,
            start_middle_end(snapshots),
            visualization.rgb_function(images, inverse, settings.bands),
            model.encoder.grid_size,
            title,
        ),
        os.path.join(folder, "masks.png"),
    )


def start_middle_end(snapshots):
    """The first, the middle and the last of snapshots over training."""
    epochs = sorted(snapshots)
    middle = min(epochs, key=lambda epoch: abs(epoch - epochs[-1] / 2))
    chosen = sorted({epochs[0], middle, epochs[-1]})
    return {epoch: snapshots[epoch] for epoch in chosen}
