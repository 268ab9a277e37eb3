"""Pretrain from the command line."""

import time

from keras_clmae.cli.backend import load_package
from keras_clmae.cli.interruption import interruptible
from keras_clmae.cli.parsing import checked
from keras_clmae.cli.parsing import make_parser
from keras_clmae.cli.parsing import parse
from keras_clmae.runs.folder import RunFolder
from keras_clmae.runs.settings import Settings
from keras_clmae.runs.settings import settings_to_run

DESCRIPTION = """\
Pretrain CL-MAE, or plain MAE, on images without labels.

  keras-clmae pretrain --config digits --run_dir runs/mine
  keras-clmae pretrain --data photos --preset tiny_patch4_32 --image_size 32 \\
      --run_dir runs/photos
  keras-clmae pretrain --run_dir runs/mine --resume

A recipe is a YAML file of the options below; options on the command line
replace those of the recipe. The run folder receives the settings, the log as
CSV and TensorBoard events, checkpoints, figures and model.keras. Ctrl-C saves
the state and ends; a second one ends at once."""


def parse_settings(arguments):
    """Reads the arguments.

    Args:
        arguments: list of str.

    Returns:
        A pair: the `Settings`, and bool, whether to resume.
    """
    parser = make_parser("pretrain", DESCRIPTION)
    parser.add_argument(
        "--config",
        action="config",
        help="Recipe: a YAML file of options, or a name that `keras-clmae "
        "recipes` lists.",
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="Go on from the newest checkpoint of the run folder, with the "
        "settings stored there, whatever else is given.",
    )
    parser.add_class_arguments(Settings)
    values = parse(parser, arguments)
    resume = values.pop("resume")
    return checked(settings_to_run, values, resume), resume


def main(arguments):
    """Pretrains; returns the model."""
    settings, resume = parse_settings(arguments)
    load_package()
    from keras_clmae import distribution
    from keras_clmae.runs.pretraining import run
    from keras_clmae.runs.summary import print_closing

    go_on = f"keras-clmae pretrain --run_dir {settings.run_dir} --resume"
    started = time.time()
    with interruptible(go_on, RunFolder(settings.run_dir).has_run):
        model = run(settings, resume)
    if settings.verbose and distribution.is_first_process():
        print_closing(settings, time.time() - started)
    return model
