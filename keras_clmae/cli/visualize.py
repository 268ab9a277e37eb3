"""Draw figures from the command line."""

from keras_clmae.cli.backend import load_package
from keras_clmae.cli.command import UsageError
from keras_clmae.cli.parsing import checked
from keras_clmae.cli.parsing import make_parser
from keras_clmae.cli.parsing import parse
from keras_clmae.runs import figures
from keras_clmae.runs.augmentations import augmentations
from keras_clmae.runs.checks import check_data_exists
from keras_clmae.runs.checks import data_spec
from keras_clmae.runs.settings import read_settings
from keras_clmae.runs.suggestions import did_you_mean

FIGURES = {
    "masks": figures.masks,
    "animation": figures.animation,
    "reconstructions": figures.reconstructions,
    "curriculum": figures.curriculum,
    "attention": figures.attention,
    "augmentations": augmentations,
}
USAGE = """\
usage: keras-clmae visualize FIGURE [ARGUMENTS]
       keras-clmae visualize FIGURE --help

Draw figures of a run, or of what the augmentations do.

figures:
{figures}

for example:
  keras-clmae visualize masks runs/digits
  keras-clmae visualize augmentations photos out.png"""


def main(arguments):
    """Draws a figure and prints its path."""
    name, *arguments = arguments or ["--help"]
    if name in ("-h", "--help"):
        print(USAGE.format(figures=_list_figures()))
        return
    if name not in FIGURES:
        raise UsageError(
            f"the figure must be one of {', '.join(FIGURES)}. Received: "
            f"{name!r}{did_you_mean(name, FIGURES)}"
        )
    draw = FIGURES[name]
    parser = make_parser(f"visualize {name}", _first_line(draw))
    parser.add_function_arguments(draw, as_positional=True)
    values = parse(parser, arguments)
    if draw is augmentations:
        checked(check_data_exists, data_spec(values["data"]))
    elif draw is not figures.curriculum:
        checked(read_settings, values["run_dir"])
    load_package()
    print(draw(**values))


def _list_figures():
    width = max(map(len, FIGURES))
    return "\n".join(
        f"  {name:{width}}  {_first_line(draw)}"
        for name, draw in FIGURES.items()
    )


def _first_line(function):
    return function.__doc__.splitlines()[0]
