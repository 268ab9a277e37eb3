"""Convert weights from the command line."""

import os

from keras_clmae.cli.backend import load_package
from keras_clmae.cli.command import FAILURE
from keras_clmae.cli.command import UsageError
from keras_clmae.cli.command import leave
from keras_clmae.cli.parsing import checked
from keras_clmae.cli.parsing import make_parser
from keras_clmae.cli.parsing import parse
from keras_clmae.runs.conversion_settings import ConversionSettings

DESCRIPTION = """\
Convert weights between keras_clmae and the formats of other libraries.

  keras-clmae convert runs/mine my-vit --allow_missing
  keras-clmae convert hf://facebook/vit-mae-base mae.keras
  keras-clmae convert vit.safetensors vit.keras --num_heads 12 --check

Formats: keras (a .keras file or a preset's folder), published (a .pth file of
MAE or CL-MAE), timm (.safetensors or .pth), huggingface (a folder or hf://
name) and keras_hub (a preset's folder). They are guessed from what is there and
from the ending of the target; a target without an ending is a folder of
Hugging Face. The exit status is 1 if anything is wrong."""

FLAGS = {
    "encoder_only": "Write the encoder alone.",
    "allow_missing": "Leave out weights without a place, and leave missing "
    "ones at random.",
    "check": "Compare the outputs of source and target, each computed by "
    "its own library where that is installed.",
}


def parse_settings(arguments):
    """Reads the arguments; returns `ConversionSettings`."""
    parser = make_parser("convert", DESCRIPTION)
    parser.add_class_arguments(
        ConversionSettings, as_positional=True, skip=set(FLAGS)
    )
    for name, text in FLAGS.items():
        parser.add_argument(f"--{name}", action="store_true", help=text)
    settings = checked(ConversionSettings, **parse(parser, arguments))
    if "://" not in settings.source and not os.path.exists(settings.source):
        raise UsageError(
            "`source` must be a .keras, .pth or .safetensors file, a folder, "
            "or a name such as hf://organization/name. Received: "
            f"source={settings.source!r}, which does not exist"
        )
    return settings


def main(arguments):
    """Converts; ends with status 1 where the outputs differ."""
    settings = parse_settings(arguments)
    load_package()
    from keras_clmae.runs.converting import convert

    try:
        agree = convert(settings)
    except ValueError as error:
        message = str(error).replace("allow_missing=True", "--allow_missing")
        raise ValueError(message) from error
    if not agree:
        leave(FAILURE)
