r"""Converts weights between keras_clmae and the formats of other libraries.

    python scripts/convert_checkpoint.py run/model.keras my-vit --allow-missing
    python scripts/convert_checkpoint.py hf://facebook/vit-mae-base mae.keras
    python scripts/convert_checkpoint.py vit.safetensors vit.keras \
        --num_heads 12 --check

Formats: keras (a .keras file or a preset's folder), published (a .pth file of
MAE or CL-MAE), timm (.safetensors or .pth), huggingface (a folder or hf://
name) and keras_hub (a preset's folder). They are guessed from what is there and
from the ending of the target; a target without an ending is a folder of
Hugging Face. The exit status is 1 if anything is wrong.
"""

import os
import sys
import warnings

os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from jsonargparse import ArgumentParser
from rich.console import Console
from rich.table import Table
from source_normalization import source_normalization

from keras_clmae.conversion import checking
from keras_clmae.conversion import formats
from keras_clmae.conversion.sizes import sizes_of
from keras_clmae.data import PixelNormalization

# Of outputs in float32; what other layouts of the same numbers round away.
TOLERANCE = 1e-4
# Of MAE and of timm's vit_*, whose files do not hold it.
DEFAULT_EPSILON = 1e-6
LICENCE_NOTE = (
    "Weights of others keep their licence when they are converted: MAE's are "
    "CC BY-NC 4.0, which allows no commercial use."
)


def convert_checkpoint(
    source: str,
    target: str,
    source_format: str | None = None,
    target_format: str | None = None,
    num_heads: int | None = None,
    decoder_num_heads: int | None = None,
    image_shape: tuple[int, int, int] | None = None,
    mean: list[float] | None = None,
    std: list[float] | None = None,
    seed: int = 0,
    encoder_only: bool = False,
    allow_missing: bool = False,
    check: bool = False,
) -> int:
    """Converts weights from one format to another.

    Args:
        source: File, folder, run folder, or a name such as
            hf://facebook/vit-mae-base or kaggle://OWNER/MODEL/keras/VARIATION.
        target: File or folder to write. It is replaced whole or not at all.
        source_format: keras, published, timm, huggingface or keras_hub.
        target_format: One of the same.
        num_heads: Attention heads of the encoder, for .pth and .safetensors.
        decoder_num_heads: Attention heads of the decoder, for .pth files.
        image_shape: [height, width, channels] to which position tables are
            interpolated.
        mean: Mean of the training images, one number a channel, white is 1, for
            the image processor of Hugging Face. By default that of the run
            whose folder or model.keras the source is, else ImageNet's.
        std: Standard deviation, likewise.
        seed: Of the random images of the check, and of missing weights.
        encoder_only: Write the encoder alone.
        allow_missing: Leave out weights without a place, and leave missing
            ones at random.
        check: Compare the outputs of source and target, each computed by its
            own library where that is installed.

    Returns:
        Exit status, 0 if all is well.
    """
    console = Console()
    try:
        source = formats.local_source(source)
        source_format = source_format or formats.guess_source_format(source)
        if source_format != "keras":
            console.print(LICENCE_NOTE, style="yellow")
        keras.utils.set_random_seed(seed)
        with warnings.catch_warnings():
            # The table says what is missing.
            warnings.simplefilter("ignore", UserWarning)
            model, read = formats.read_model(
                source,
                source_format,
                num_heads,
                decoder_num_heads,
                image_shape,
                allow_missing,
            )
        if read.missing and not allow_missing:
            raise ValueError(
                f"`source` lacks {', '.join(read.missing[:5])}, ...: pass "
                "`--allow-missing` to leave them at random"
            )
        if encoder_only:
            model = getattr(model, "encoder", model)
        target_format = target_format or formats.guess_target_format(
            target, model
        )
        normalization = given_normalization(mean, std)
        if normalization is None and target_format == "huggingface":
            normalization = source_normalization(
                source, sizes_of(model).channels
            )
        wrote = formats.write_model(
            model, target, target_format, allow_missing, normalization
        )
    except (ValueError, OSError, ImportError) as error:
        print_error(console, error)
        return 1
    print_report(console, model, read, wrote, (source_format, target_format))
    if target_format == "huggingface":
        print_normalization(console, normalization, sizes_of(model).channels)
    if not check:
        return 0
    # An interpolated model has no counterpart in the source's library.
    compared = [] if image_shape else [("source", source, source_format)]
    compared += [("target", target, target_format)]
    try:
        with warnings.catch_warnings():
            # The tables say what is missing there, too.
            warnings.simplefilter("ignore", UserWarning)
            return check_outputs(console, compared, model, seed)
    # Other libraries raise what they like.
    except Exception as error:
        print_error(console, error)
        return 1


def given_normalization(mean, std):
    """What the options `mean` and `std` say, or `None`."""
    if (mean is None) != (std is None):
        raise ValueError(
            "`mean` and `std` must be given together. "
            f"Received: mean={mean}, std={std}"
        )
    return None if mean is None else PixelNormalization(mean, std)


def print_error(console, error):
    """Prints an error in one line."""
    message = " ".join(str(error).split()) or type(error).__name__
    message = message.replace("allow_missing=True", "--allow-missing")
    console.print(
        f"error: {message}", style="red", markup=False, soft_wrap=True
    )


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
            "standardised. Pass --mean and --std if by others.",
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


def print_report(console, model, read, wrote, names):
    """Prints which weight became which, what was left over, what is missing."""
    table = Table(f"source: {names[0]}", "keras_clmae", f"target: {names[1]}")
    theirs = {}
    for side, report in enumerate((read, wrote)):
        for row in report.mapped:
            for path in row.ours:
                theirs.setdefault(path, ["-", "-"])[side] = "\n".join(
                    row.theirs
                )
    for path, (before, after) in theirs.items():
        table.add_row(before, path, after)
    console.print(table)
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
        ("without a place in the target, dropped", wrote.left_over),
    ):
        if names:
            console.print(f"{title}: {', '.join(names)}", style="yellow")


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
    return 0 if passed else 1


def main(arguments=None):
    parser = ArgumentParser(description=__doc__.splitlines()[0])
    flags = {
        "encoder_only": "Write the encoder alone.",
        "allow_missing": "Leave out weights without a place, and leave missing "
        "ones at random.",
        "check": "Compare the outputs of source and target, each computed by "
        "its own library where that is installed.",
    }
    parser.add_function_arguments(
        convert_checkpoint, as_positional=True, skip=set(flags)
    )
    for name, text in flags.items():
        spellings = {f"--{name}", f"--{name.replace('_', '-')}"}
        parser.add_argument(
            *sorted(spellings), dest=name, action="store_true", help=text
        )
    return convert_checkpoint(**parser.parse_args(arguments).as_dict())


if __name__ == "__main__":
    sys.exit(main())
