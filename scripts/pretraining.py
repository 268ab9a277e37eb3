"""What a pretraining run does once its settings are known."""

import csv
import dataclasses
import os

import jsonargparse
import keras
import numpy as np
from run_summary import print_opening

import keras_clmae
from keras_clmae import callbacks
from keras_clmae import data
from keras_clmae import models
from keras_clmae import visualization
from keras_clmae.optimizers import warmup_cosine
from keras_clmae.trainers import NO_WEIGHT_DECAY

# Images in the picture of masks.
NUM_PICTURES = 6
# Pictures of each gallery in a run, unless the settings say otherwise.
NUM_GALLERIES = 20


def run(settings, resume=False):
    """Pretrains as `settings` say and returns the model.

    Args:
        settings: `pretrain.Settings`.
        resume: bool. Whether to go on from the newest checkpoint.

    Returns:
        The trained `CLMAE` or `MaskedAutoencoder`.
    """
    keras.utils.set_random_seed(settings.seed)
    keras.config.set_dtype_policy(settings.precision)
    train, validation = load_data(settings)
    images = first_images(validation or train)
    model = build_model(settings, images.shape[1:])
    compile_model(model, settings, train.steps_per_epoch)
    initial_epoch = prepare_folder(settings, model, resume)
    # An order that depends on seed and epoch only: a resumed run sees what an
    # undisturbed one sees.
    train.set_epoch(initial_epoch)
    print_opening(settings, model, train, initial_epoch)
    model.fit(
        train,
        validation_data=validation,
        epochs=settings.epochs,
        initial_epoch=initial_epoch,
        shuffle=False,
        callbacks=make_callbacks(
            settings, images, train.normalization.inverse, resume
        ),
        # `Progress` is among the callbacks.
        verbose=0,
    )
    save_whole(model, os.path.join(settings.run_dir, "model.keras"))
    draw_pictures(settings, model, train.normalization.inverse)
    return model


def load_data(settings):
    """Makes the training and validation batches; the latter may be `None`."""
    if settings.data == "digits":
        return (
            data.digits(settings.batch_size, "train", seed=settings.seed),
            data.digits(settings.batch_size, "test"),
        )

    def load(transform, **arguments):
        return data.from_spec(
            settings.data,
            image_size=settings.image_size,
            batch_size=settings.batch_size,
            seed=settings.seed,
            transform=transform,
            **arguments,
        )

    if settings.validation is None:
        return load("pretrain"), None
    if isinstance(settings.validation, str):
        return load("pretrain"), load("evaluation", split=settings.validation)
    share = {"validation_split": settings.validation}
    return (
        load("pretrain", **share, subset="training"),
        load("evaluation", **share, subset="validation"),
    )


def first_images(batches, count=NUM_PICTURES):
    """The first images of the first batch, as many as the pictures show."""
    batch = next(iter(batches))
    images, _, _ = keras.utils.unpack_x_y_sample_weight(batch)
    return np.asarray(images[:count])


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


def compile_model(model, settings, steps_per_epoch):
    """Compiles with MAE's optimizer and the curriculum of the settings."""
    total_steps = settings.epochs * steps_per_epoch

    def adamw(learning_rate):
        return keras.optimizers.AdamW(
            learning_rate, weight_decay=settings.weight_decay, beta_2=0.95
        )

    optimizer = adamw(
        warmup_cosine(
            settings.base_learning_rate * settings.batch_size / 256,
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
    """Writes the settings, or restores the run; gives the first epoch."""
    config_path = os.path.join(settings.run_dir, "config.yaml")
    if not resume:
        os.makedirs(settings.run_dir, exist_ok=True)
        text = jsonargparse.ArgumentParser()
        text.add_class_arguments(type(settings))
        text.save(
            text.parse_object(dataclasses.asdict(settings)),
            config_path,
            overwrite=True,
        )
        return 0
    epoch = callbacks.restore_newest(
        model, os.path.join(settings.run_dir, "checkpoints")
    )
    _forget_epochs(os.path.join(settings.run_dir, "log.csv"), epoch)
    return epoch


def _forget_epochs(path, epoch):
    """Drops the rows of epochs that will be run again."""
    if not os.path.exists(path):
        return
    with open(path, encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    rows = [row for row in rows if row and int(row[0]) < epoch]
    unfinished = f"{path}.unfinished"
    with open(unfinished, "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    os.replace(unfinished, path)


def make_callbacks(settings, images, inverse, resume):
    """Progress, the log, the galleries and, last, the checkpoint."""

    def path(*names):
        return os.path.join(settings.run_dir, *names)

    chosen = []
    if settings.verbose:
        chosen.append(
            callbacks.Progress(
                settings.batch_size,
                settings.verbose,
                log_name="images_per_second",
            )
        )
    chosen += [
        keras.callbacks.CSVLogger(path("log.csv"), append=resume),
        callbacks.TensorBoardScalars(path("tensorboard")),
    ]
    galleries = {"reconstructions": callbacks.ReconstructionGallery}
    if settings.method == "clmae":
        galleries["masks"] = callbacks.MaskGallery
    chosen += [
        gallery(
            images,
            path(name),
            every=pictures_every(settings),
            inverse=inverse,
            bands=settings.bands,
            tensorboard=path("tensorboard", name),
        )
        for name, gallery in galleries.items()
    ]
    # What an epoch left behind is complete before it counts as finished.
    chosen.append(
        callbacks.RunCheckpoint(
            path("checkpoints"),
            every=settings.checkpoint_every,
            keep=settings.keep,
        )
    )
    return chosen


def pictures_every(settings):
    """Epochs from one picture to the next."""
    if settings.pictures_every is not None:
        return settings.pictures_every
    return max(settings.epochs // NUM_GALLERIES, 1)


def save_whole(model, path):
    """Saves a `.keras` file that is whole or absent."""
    # Keras asks for the ending.
    unfinished = f"{path.removesuffix('.keras')}_unfinished.keras"
    model.save(unfinished)
    os.replace(unfinished, path)


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
    images, snapshots = callbacks.load_snapshots(os.path.join(folder, "masks"))
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
