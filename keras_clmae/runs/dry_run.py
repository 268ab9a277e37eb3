"""Print what a run would do, and the hours that its counted work takes."""

import time

import keras
from rich.console import Console
from rich.table import Table

from keras_clmae.callbacks import TrainingPosition
from keras_clmae.runs.building import highest_learning_rate
from keras_clmae.runs.choices import UTILIZATION
from keras_clmae.runs.step_size import step_size
from keras_clmae.runs.summary import choice_rows
from keras_clmae.runs.summary import opening_rows
from keras_clmae.runs.summary import print_rows
from keras_clmae.trainers.progress import duration

# Side of the matrices whose product is timed, and the least seconds.
_SIDE, _SECONDS = 1024, 0.2


def print_dry_run(settings, plan, model, train, chosen):
    """Prints the opening table of a run, with its counted hours.

    Args:
        settings: `Settings`.
        plan: what `keras_clmae.distribution.setup` gave.
        model: `CLMAE` or `MaskedAutoencoder`, not compiled.
        train: the training batches.
        chosen: list of `Choice`s.
    """
    table = Table(
        show_header=False,
        title=f"{settings.title}: nothing is written",
        title_style="bold",
    )
    table.add_column(style="cyan")
    table.add_column(overflow="fold")
    rows = opening_rows(
        settings,
        plan,
        model,
        train,
        TrainingPosition(),
        highest_learning_rate(settings),
    )
    rows["time"] = time_row(settings, model, train, plan.num_devices)
    print_rows(table, {**rows, **choice_rows(chosen)})
    given = " What was chosen can be given instead." if chosen else ""
    Console().print(f"The same without --dry_run starts the run.{given}")


def time_row(settings, model, train, num_devices):
    """Words how long a run takes by its work and the speed of the device.

    Args:
        settings: `Settings`.
        model: `CLMAE` or `MaskedAutoencoder`.
        train: the training batches.
        num_devices: int. Devices that share a batch.

    Returns:
        str.
    """
    images = settings.epochs * train.steps_per_epoch * settings.batch_size
    work = images * flop_per_image(model)
    speed = num_devices * product_speed(settings.precision)
    seconds = work / (UTILIZATION * speed)
    return (
        f"about {duration(seconds)}: {work:.1e} operations counted, at "
        f"{UTILIZATION:.0%} of the {speed / 1e12:.2g} TFLOP/s that a matrix "
        "product reaches here; reading the images"
        f"{'' if _has_masking_phase(model) else ' and choosing masks'} not "
        "counted"
    )


def _has_masking_phase(model):
    return model.learns_masks and model.objective.needs_masking_phase


def flop_per_image(model):
    """Counts the operations of a training step; see `step_size`.

    Args:
        model: `CLMAE` or `MaskedAutoencoder`.

    Returns:
        float. Where there is no masking phase, those of plain MAE, which a thin
        masking module hardly adds to.
    """
    autoencoder = getattr(model, "autoencoder", model)
    encoder, decoder = autoencoder.encoder, autoencoder.decoder
    counted = step_size(
        image_shape=encoder.image_shape,
        patch_size=encoder.patch_size,
        hidden_dim=encoder.hidden_dim,
        num_layers=encoder.num_layers,
        num_heads=encoder.num_heads,
        decoder_hidden_dim=decoder.hidden_dim,
        decoder_num_layers=decoder.num_layers,
        decoder_num_heads=decoder.num_heads,
        mask_ratio=autoencoder.mask_ratio,
    )
    if _has_masking_phase(model):
        return counted.flop_per_image
    return counted.autoencoder_flop


def product_speed(precision):
    """Times a product of matrices.

    Args:
        precision: str. As in `Settings`.

    Returns:
        float. Operations per second of one device.
    """
    dtype = "bfloat16" if precision == "mixed_bfloat16" else "float32"
    matrix = keras.ops.ones((_SIDE, _SIDE), dtype)

    def multiply():
        product = keras.ops.matmul(matrix, matrix)
        # Waits until it is there.
        return keras.ops.convert_to_numpy(product[0, 0])

    multiply()
    count, started = 0, time.perf_counter()
    while time.perf_counter() - started < _SECONDS:
        multiply()
        count += 1
    return count * 2 * _SIDE**3 / (time.perf_counter() - started)
