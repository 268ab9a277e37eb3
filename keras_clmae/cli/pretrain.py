"""Pretrain from the command line."""

import shlex
import time

from keras_clmae.cli.backend import load_package
from keras_clmae.cli.command import UsageError
from keras_clmae.cli.interruption import interruptible
from keras_clmae.cli.parsing import checked
from keras_clmae.cli.parsing import make_parser
from keras_clmae.cli.parsing import parse
from keras_clmae.runs.checks import check_data_exists
from keras_clmae.runs.checks import data_spec
from keras_clmae.runs.folder import RunFolder
from keras_clmae.runs.settings import Settings
from keras_clmae.runs.settings import check_new_run
from keras_clmae.runs.settings import needs_choices
from keras_clmae.runs.settings import settings_to_run

DESCRIPTION = """\
Pretrain CL-MAE, or plain MAE, on images without labels.

  keras-clmae pretrain photos --run_dir runs/photos
  keras-clmae pretrain --config digits --run_dir runs/mine
  keras-clmae pretrain --data photos --preset tiny_patch4_32 --image_size 32 \\
      --run_dir runs/photos
  keras-clmae pretrain --run_dir runs/mine --resume

Without --preset, what is left out is chosen from the images (of a folder, of
shards or of a table) and the device, and said in the opening table; --dry_run
prints it with counted hours, and writes nothing. A recipe is a YAML file of the
options below; options on the command line replace those of the recipe. The run
folder receives the settings, the log as CSV and TensorBoard events,
checkpoints, figures, model.keras and encoder/. Ctrl-C saves the state and ends;
a second one ends at once."""


def parse_settings(arguments):
    """Reads the arguments.

    Args:
        arguments: list of str.

    Returns:
        A triple: dict of the arguments of `Settings` that were given, and two
        bools, whether to resume, and whether to print only.
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
    parser.add_argument(
        "--dry_run",
        action="store_true",
        help="Print what would run, with its counted hours; write nothing.",
    )
    parser.add_argument(
        "folder",
        nargs="?",
        help="Folder of images, or what else --data takes, in its place.",
    )
    parser.add_class_arguments(Settings)
    # What was left out may be chosen.
    values = parse(parser, arguments, defaults=False)
    resume = values.pop("resume", False)
    dry_run = values.pop("dry_run", False)
    folder = values.pop("folder", None)
    if folder is not None:
        if "data" in values and folder != values["data"]:
            raise UsageError(
                "`folder` and `--data` must not both be given. Received: "
                f"{folder!r} and {values['data']!r}"
            )
        values["data"] = folder
    if not resume and "data" in values:
        checked(check_data_exists, data_spec(values["data"]))
    if resume or not needs_choices(values):
        # What cannot run is refused at once, before anything is loaded.
        checked(settings_to_run, values, resume)
    else:
        checked(check_new_run, values)
    return values, resume, dry_run


def main(arguments):
    """Pretrains; returns the model."""
    values, resume, dry_run = parse_settings(arguments)
    load_package()
    from keras_clmae import distribution
    from keras_clmae.runs.pretraining import complete
    from keras_clmae.runs.pretraining import run
    from keras_clmae.runs.summary import print_closing

    values, chosen = complete(values, resume)
    settings = checked(settings_to_run, values, resume)
    run_dir = shlex.quote(settings.run_dir)
    go_on = f"keras-clmae pretrain --run_dir {run_dir} --resume"
    started = time.time()
    with interruptible(go_on, RunFolder(settings.run_dir).has_run):
        model = run(settings, resume, chosen=chosen, dry_run=dry_run)
    if dry_run:
        return None
    if settings.verbose and distribution.is_first_process():
        print_closing(settings, time.time() - started)
    return model
