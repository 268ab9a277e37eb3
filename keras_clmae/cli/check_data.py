"""Check images from the command line."""

import os

from keras_clmae.cli.backend import load_package
from keras_clmae.cli.command import FAILURE
from keras_clmae.cli.command import UsageError
from keras_clmae.cli.command import leave
from keras_clmae.cli.parsing import make_parser
from keras_clmae.cli.parsing import parse
from keras_clmae.runs.data_check import check_data

DESCRIPTION = """\
Report what is wrong with the images of a folder, before a long run.

  keras-clmae check-data photos
  keras-clmae check-data imagenet/train --labels true --channels 3

Every image is read and decoded as training would read it. The exit status is 1
if something is wrong with the folder as a whole, or with any image."""


def main(arguments):
    """Checks; ends with status 1 where something is wrong."""
    parser = make_parser("check-data", DESCRIPTION)
    parser.add_function_arguments(check_data, as_positional=True)
    values = parse(parser, arguments)
    # As the other commands take it.
    values["path"] = values["path"].removeprefix("folder:")
    if not os.path.isdir(values["path"]):
        raise UsageError(
            f"`path` must be a folder. Received: path={values['path']!r}"
        )
    load_package()
    if not check_data(**values):
        leave(FAILURE)
