"""Convert weights between keras_clmae and the formats of other libraries."""

import warnings

import keras
import numpy as np
from rich.console import Console
from rich.table import Table

from keras_clmae.conversion import checking
from keras_clmae.conversion import formats
from keras_clmae.conversion.sizes import sizes_of
from keras_clmae.data import PixelNormalization
from keras_clmae.runs.checks import settings_of
from keras_clmae.runs.conversion_settings import ConversionSettings
from keras_clmae.runs.normalization import source_normalization

# Of outputs in float32; what other layouts of the same numbers round away.
TOLERANCE = 1e-4
# Of MAE and of timm's vit_*, whose files do not hold it.
DEFAULT_EPSILON = 1e-6
LICENSE_NOTE = (
    "Weights of others keep their license when they are converted: MAE's are "
    "CC BY-NC 4.0, which allows no commercial use."
)


def convert_checkpoint(source, target, **settings):
    """Converts weights from one format to another, and prints what became what.

    The same as `keras-clmae convert`.

    Args:
        source: str. File, folder, run folder, or a name such as
            `"hf://facebook/vit-mae-base"`.
        target: str. File or folder to write. It is replaced whole or not at
            all.
        **settings: further options of the command, such as `check=True` or
            `allow_missing=True`.

    Returns:
        bool. Whether the outputs agree; `True` where `check` is not set.

    Raises:
        ValueError: if a setting is wrong, `source` cannot be read, weights have
            no place, or the check cannot be done.

    Example:

    ```python
    keras_clmae.runs.convert_checkpoint("runs/mine", "my-vit", check=True)
    ```
    """
    values = {"source": source, "target": target, **settings}
    return convert(settings_of(ConversionSettings, values))


def convert(settings):
    """Converts as settings say; see `convert_checkpoint`."""
    console = Console()
    source = formats.local_source(settings.source)
    source_format = settings.source_format or formats.guess_source_format(
        source, settings.key, settings.prefix
    )
    if source_format != "keras":
        console.print(LICENSE_NOTE, style="yellow")
    keras.utils.set_random_seed(settings.seed)
    with warnings.catch_warnings():
        # The table says what is missing.
        warnings.simplefilter("ignore", UserWarning)
        model, read = formats.read_model(
            source,
            source_format,
            settings.num_heads,
            settings.decoder_num_heads,
            settings.image_shape,
            settings.allow_missing,
            settings.key,
            settings.prefix,
            settings.grid_size,
        )
    if read.missing and not settings.allow_missing:
        raise ValueError(
            f"`source` lacks {', '.join(read.missing[:5])}, ...: pass "
            "`allow_missing=True` to leave them at random"
        )
    if settings.encoder_only:
        model = getattr(model, "encoder", model)
    target_format = settings.target_format or formats.guess_target_format(
        settings.target, model
    )
    normalization = given_normalization(settings.mean, settings.std)
    if normalization is None and target_format == "huggingface":
        normalization = source_normalization(source, sizes_of(model).channels)
    wrote = formats.write_model(
        model,
        settings.target,
        target_format,
        settings.allow_missing,
        normalization,
    )
    print_report(console, model, read, wrote, (source_format, target_format))
    if target_format == "huggingface":
        print_normalization(console, normalization, sizes_of(model).channels)
    if not settings.check:
        return True
    # A part of a file, and an interpolated model, have no counterpart in the
    # source's library.
    is_part = settings.key or settings.prefix or settings.grid_size
    compared = []
    if not settings.image_shape and not is_part:
        compared += [("source", source, source_format)]
    compared += [("target", settings.target, target_format)]
    try:
        with warnings.catch_warnings():
            # The tables say what is missing there, too.
            warnings.simplefilter("ignore", UserWarning)
            return check_outputs(console, compared, model, settings.seed)
    # Other libraries raise what they like.
    except Exception as error:
        raise ValueError(str(error) or type(error).__name__) from error


def given_normalization(mean, std):
    """Reads the options `mean` and `std`; `None` without them."""
    if (mean is None) != (std is None):
        raise ValueError(
            "`mean` and `std` must be given together. "
            f"Received: mean={mean}, std={std}"
        )
    return None if mean is None else PixelNormalization(mean, std)


def print_normalization(console, normalization, channels):
    """Says which mean and deviation the image processor was given."""
    if normalization is None:
        has = (
            "The image processor has ImageNet's mean and standard deviation"
            if channels in (1, 3)
            else "The folder has no image processor"
        )
        console.print(
            f"{has}: "
            "nothing says by which the images of the training were "
            "standardized. Pass --mean and --std if by others.",
            style="yellow",
        )
        return
    mean, std = (
        ", ".join(f"{float(number):.4g}" for number in numbers)
        for numbers in (normalization.mean, normalization.std)
    )
    console.print(
        f"The image processor has the mean {mean} and the standard deviation "
        f"{std}.",
        highlight=False,
    )


def weight_table(read, wrote, names):
    """Makes the table of which weight became which.

    Args:
        read: report of what was read.
        wrote: report of what was written.
        names: pair of str. The formats of source and target.

    Returns:
        A `rich.table.Table`.
    """
    table = Table()
    for title in (f"source: {names[0]}", "keras_clmae", f"target: {names[1]}"):
        # Names of weights are long words, which would lose their ends.
        table.add_column(title, overflow="fold")
    theirs = {}
    for side, report in enumerate((read, wrote)):
        for row in report.mapped:
            for path in row.ours:
                theirs.setdefault(path, ["-", "-"])[side] = "\n".join(
                    row.theirs
                )
    for path, (before, after) in theirs.items():
        table.add_row(before, path, after)
    return table


def print_report(console, model, read, wrote, names):
    """Prints which weight became which, what was left over, what is missing."""
    console.print(weight_table(read, wrote, names))
    parameters = model.count_params()
    console.print(
        f"{type(model).__name__} of {parameters:,} parameters; "
        f"{sum(len(row.theirs) for row in wrote.mapped)} arrays written."
    )
    epsilon = sizes_of(model).encoder.layer_norm_epsilon
    if names[1] in ("timm", "published") and epsilon != DEFAULT_EPSILON:
        console.print(
            f"The target does not hold layer_norm_epsilon={epsilon:g}: give it "
            f"when you read it, in place of {DEFAULT_EPSILON:g}.",
            style="yellow",
        )
    for title, names in (
        ("left over in the source, dropped", read.left_over),
        ("missing in the source, at random", read.missing),
        (
            "without a place in the target, dropped",
            _parts_as_a_whole(wrote.left_over),
        ),
    ):
        if names:
            console.print(f"{title}: {', '.join(names)}", style="yellow")


def _parts_as_a_whole(names):
    """Puts one entry in place of the many weights of the masking module."""
    others = [name for name in names if "masking_module" not in name]
    count = len(names) - len(others)
    return others + [f"the masking module ({count} weights)"] * (count > 0)


def check_outputs(console, compared, model, seed):
    """Compares outputs of source and target with ours on random images."""
    random = np.random.default_rng(seed)
    sizes = sizes_of(model)
    images = random.normal(size=(2, *sizes.image_shape)).astype("float32")
    noise = random.random((2, sizes.num_tokens)).astype("float32")
    ours = checking.outputs_of(model, images, noise)
    table = Table("outputs", "computed by", "what", "largest difference")
    passed = True
    for side, path, path_format in compared:
        library, outputs = checking.outputs_by_library(
            path, path_format, model, images, noise
        )
        found = checking.largest_difference(ours, outputs)
        passed = passed and found and max(found.values()) <= TOLERANCE
        for name, difference in found.items():
            table.add_row(side, library, name, f"{difference:.1e}")
    console.print(table)
    console.print(
        f"The outputs {'agree' if passed else 'DIFFER'} with those of "
        f"keras_clmae (tolerance {TOLERANCE:g} of the largest).",
        style="green" if passed else "red",
    )
    return bool(passed)
