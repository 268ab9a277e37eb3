"""Print what a pretraining run is about to do and what it left."""

import json
import os
import shlex
import warnings

import keras
from rich.console import Console
from rich.table import Table

from keras_clmae.runs.checks import DEFAULT_EVALUATION_CROP
from keras_clmae.runs.folder import RunFolder
from keras_clmae.trainers.progress import duration


def print_opening(
    settings,
    plan,
    model,
    train,
    position,
    learning_rate,
    reason=None,
    chosen=(),
):
    """Prints what is about to run, as one table.

    Args:
        settings: `Settings`.
        plan: what `keras_clmae.distribution.setup` gave.
        model: `CLMAE` or `MaskedAutoencoder`.
        train: the training batches.
        position: `TrainingPosition` from which the run goes on.
        learning_rate: float. The highest of the run.
        reason: str. Why the precision was chosen. Defaults to `None`: it was
            asked for.
        chosen: list of `Choice`s. Settings that were left out.
    """
    table = Table(show_header=False, title=settings.title, title_style="bold")
    table.add_column(style="cyan")
    table.add_column(overflow="fold")
    rows = opening_rows(
        settings, plan, model, train, position, learning_rate, reason
    )
    print_rows(table, {**rows, **choice_rows(chosen)})


def print_rows(table, rows):
    """Prints a table of names and texts.

    Args:
        table: `rich.table.Table` with two columns.
        rows: dict from name to text.
    """
    for name, value in rows.items():
        table.add_row(name, value)
    Console().print(table)


def choice_rows(chosen):
    """Words the rows of settings that were chosen, with their reasons.

    Args:
        chosen: list of `Choice`s.

    Returns:
        dict from name to text.
    """
    return {
        f"chosen: --{choice.name}": f"{_value(choice.value)} ({choice.reason})"
        for choice in chosen
    }


def _value(value):
    """A value as an option takes it."""
    return json.dumps(value) if isinstance(value, dict) else value


def opening_rows(
    settings, plan, model, train, position, learning_rate, reason=None
):
    """Words the rows of the opening table.

    Args:
        settings: as in `print_opening`.
        plan: as in `print_opening`.
        model: as in `print_opening`.
        train: as in `print_opening`.
        position: as in `print_opening`.
        learning_rate: as in `print_opening`.
        reason: as in `print_opening`.

    Returns:
        dict from name to text.
    """
    autoencoder = getattr(model, "autoencoder", model)
    encoder, decoder = autoencoder.encoder, autoencoder.decoder
    height, width, channels = autoencoder.image_shape
    steps = settings.epochs * train.steps_per_epoch
    rows = {
        "model": f"{settings.title}: {_count(model)} in all",
        "data": f"{_place(settings)}: {train.num_examples:,} images of "
        f"{height} x {width} x {channels}",
        "augmentation": _augmentation(settings),
        "encoder": f"{_count(encoder)}: {_layers(encoder)} of width "
        f"{encoder.hidden_dim}, {encoder.num_heads} heads, patches of "
        f"{encoder.patch_size} pixels",
        "decoder": f"{_count(decoder)}: {_layers(decoder)} of width "
        f"{decoder.hidden_dim}, {decoder.num_heads} heads",
    }
    if model.learns_masks:
        masking = model.masking_module
        rows["masking module"] = f"{_count(masking)}: {_sizes(masking)}"
        rows["objective"] = _objective(model.objective)
        if settings.random_mask_share:
            rows["random masks"] = (
                f"{settings.random_mask_share:.0%} of each batch"
            )
        rows["curriculum"] = _curriculum(settings)
    rows |= {
        "tokens": f"{encoder.num_tokens}, of which {autoencoder.num_visible} "
        "stay visible",
        "backend": f"Keras {keras.__version__} on {keras.config.backend()}",
        "precision": settings.precision + (f": {reason}" if reason else ""),
        "devices": ", ".join(device_names())
        + (
            f"; {plan.strategy} parallel over {plan.num_devices} devices in "
            f"{plan.process_count} process(es)"
            if plan.num_devices > 1
            else ""
        ),
        "steps": f"{steps:,}: {_number(settings.epochs, 'epoch')} of "
        f"{_number(train.steps_per_epoch, 'step')} of "
        f"{_number(settings.batch_size, 'image')}"
        + (f", from epoch {position.epoch + 1}" if any(position[:2]) else "")
        + (f", step {position.step + 1}" if position.step else ""),
        "learning rate": f"up to {learning_rate:g}, "
        f"{_warmup(settings)} of warm-up, then half a cosine"
        + (
            ""
            if settings.masking_learning_rate is None
            else f"; masking module {settings.masking_learning_rate:g}"
        ),
        "run folder": settings.run_dir,
        "time": "an estimate follows after the first steps",
    }
    return rows


def print_closing(settings, seconds):
    """Prints where everything lies and what to type next.

    Args:
        settings: `Settings`.
        seconds: float. What the run took.
    """
    folder = RunFolder(settings.run_dir)
    table = Table(
        show_header=False,
        title=f"Done in {duration(seconds)}: {folder.path}",
        title_style="bold",
        title_justify="left",
    )
    table.add_column(style="cyan")
    table.add_column(overflow="fold")
    for path, meaning in folder.contents().items():
        table.add_row(path.removeprefix(folder.join("")), meaning)
    console = Console()
    console.print(table)
    _print_commands("Next:", next_commands(settings))
    _print_commands(
        "Scores of images with labels, of train/ and test/ in one folder, each "
        "with a folder per class:"
        if settings.data.startswith("folder:")
        else "Scores, where the images have labels:",
        scoring_commands(settings),
    )


def _print_commands(title, commands):
    console = Console()
    console.print(title, style="bold")
    # Not wrapped: people copy these lines.
    for command in commands:
        console.print(
            f"  {command}", soft_wrap=True, highlight=False, markup=False
        )


def next_commands(settings):
    """Words the commands that use and draw a finished run.

    Args:
        settings: `Settings`.

    Returns:
        List of str, for a shell.
    """
    folder = RunFolder(settings.run_dir)
    images = [folder.encoder, settings.data]
    options = _image_options(settings)
    commands = [["embed", *images, "--output", "features.npz", *options]]
    query = _example_file(settings.data)
    if query is not None:
        commands.append(
            ["search", *images, query, "--output", "neighbors.png", *options]
        )
    commands += [
        ["export", folder.path, "onnx"],
        ["visualize", "reconstructions", folder.path],
        ["visualize", "attention", folder.path],
    ]
    if os.path.isdir(folder.masks):
        commands.append(["visualize", "animation", folder.path])
    code = (
        "import keras_clmae; encoder = keras_clmae.evaluation."
        f"load_encoder({json.dumps(folder.encoder)})"
    )
    return [
        *(shlex.join(["keras-clmae", *command]) for command in commands),
        shlex.join(["python", "-c", code]),
    ]


def scoring_commands(settings):
    """Words the commands that score a finished run.

    Args:
        settings: `Settings`.

    Returns:
        List of str, for a shell. `DATA` stands for a folder with labels, where
        the run was of one without a split to score.
    """
    data, options = settings.data, _image_options(settings)
    split = "test"
    if data != "digits" and isinstance(settings.validation, str):
        split = settings.validation
    if split != "test":
        options = ["--test_split", split, *options]
    kind, _, place = data.partition(":")
    if kind == "folder" and not os.path.isdir(os.path.join(place, split)):
        data = "DATA"
    return [
        shlex.join(["keras-clmae", command, settings.run_dir, data, *options])
        for command in ("knn", "linear-probe", "finetune")
    ]


def _image_options(settings):
    """Options by which other commands read the images as the run did."""
    options = []
    if settings.evaluation_crop != DEFAULT_EVALUATION_CROP:
        options += ["--evaluation_crop", f"{settings.evaluation_crop:g}"]
    if settings.data_arguments:
        options += ["--data_arguments", json.dumps(settings.data_arguments)]
    if settings.data_dir is not None:
        options += ["--data_dir", settings.data_dir]
    return options


def _example_file(data):
    """Path of the first image of a folder, or `None` where there is none."""
    from keras_clmae.data.decoding import EXTENSIONS

    kind, _, place = data.partition(":")
    if kind != "folder" or not os.path.isdir(place):
        return None
    for folder, folders, files in os.walk(_training_folder(place)):
        # The order in which to go on.
        folders.sort()
        for name in sorted(files):
            if name.lower().endswith(EXTENSIONS) and not name.startswith("."):
                return os.path.join(folder, name)
    return None


def device_names():
    """Lists the devices that Keras's backend sees, as a list of str."""
    try:
        names = keras.distribution.list_devices()
    except AttributeError:
        # Keras 3.15 cannot list those of PyTorch: where a tensor lands.
        names = [str(keras.ops.zeros(()).device)]
    return [str(name) for name in names]


def _place(settings):
    """Words where the images come from, and whether from `train` only."""
    kind, _, place = settings.data.partition(":")
    only = kind == "folder" and _training_folder(place) != place
    return settings.data + ", train/ only" * only


def _training_folder(place):
    """The folder of the training split, or that of all images."""
    from keras_clmae.data.loading import split_folder

    with warnings.catch_warnings():
        # Was given when the images were loaded.
        warnings.simplefilter("ignore")
        return split_folder(place, "train")


def _sizes(masking):
    """Sizes of a masking module; the class of a layer of the user's own."""
    names = ("num_layers", "num_heads")
    if not all(hasattr(masking, name) for name in names):
        return type(masking).__name__
    width = getattr(masking, "width", None)
    wide = f" of width {width}" if width else ""
    return f"{_layers(masking)}{wide}, {masking.num_heads} heads"


def _objective(objective):
    """Class and arguments of an objective."""
    arguments = ", ".join(
        f"{name}={value!r}"
        for name, value in objective.get_config().items()
        if value is not None
    )
    return f"{type(objective).__name__}({arguments})"


def _warmup(settings):
    epochs = settings.num_warmup_epochs
    asked = settings.warmup_epochs
    shortened = "" if asked in (None, epochs) else f" (instead of {asked})"
    return _number(epochs, "epoch") + shortened


def _augmentation(settings):
    if settings.data == "digits":
        return "none"
    least, flipped = settings.crop_scale, settings.flip
    parts = [
        f"crops of {least:.0%} to 100% of the area"
        if least < 1
        else "the largest square in the middle",
    ]
    if flipped:
        share = 0.5 if flipped is True else flipped
        parts.append(f"{share:.0%} mirrored")
    if settings.color_jitter:
        parts.append(f"colors times 1 ± {settings.color_jitter:g}")
    if settings.augmentation:
        parts.append(settings.augmentation)
    return ", ".join(parts)


def _count(part):
    return f"{part.count_params():,} parameters"


def _layers(part):
    return _number(part.num_layers, "layer")


def _number(count, thing):
    """Words a number of things, one or several."""
    return f"{count:,} {thing}" + "s" * (count != 1)


def _curriculum(settings):
    if settings.curriculum == "constant":
        return f"constant, {settings.initial_factor:+g}"
    return (
        f"{settings.curriculum}, from {settings.initial_factor:+g} to "
        f"{settings.final_factor:+g}"
    )
