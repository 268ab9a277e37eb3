"""Evaluate from the command line: what the scoring subcommands share."""

from keras_clmae.cli.backend import load_package
from keras_clmae.cli.parsing import checked
from keras_clmae.cli.parsing import make_parser
from keras_clmae.cli.parsing import parse


def parse_evaluation(subcommand, description, kind, arguments):
    """Reads the arguments of an evaluation.

    Args:
        subcommand: str. Its name.
        description: str. What `--help` says before the options.
        kind: dataclass of the settings.
        arguments: list of str.

    Returns:
        An instance of `kind`, whose paths exist.
    """
    parser = make_parser(subcommand, description)
    parser.add_argument(
        "--config", action="config", help="A YAML file of options."
    )
    parser.add_class_arguments(kind, as_positional=True)
    settings = checked(kind, **parse(parser, arguments))
    checked(settings.check_paths)
    return settings


def run_evaluation(settings):
    """Evaluates in the loaded package.

    Args:
        settings: what `parse_evaluation` gave.

    Returns:
        A pair: the record and the path of its file.
    """
    load_package()
    from keras_clmae.runs.evaluating import evaluate

    return evaluate(settings)


def print_scores(record, output):
    """Prints the scores of a record, and where it lies.

    Args:
        record: dict.
        output: str. Path of its file.
    """
    from rich.console import Console

    console = Console()
    for which, score in record["scores"].items():
        console.print(
            f"{record['protocol']}, {which}: {score['accuracy']:.2%}",
            markup=False,
        )
        if "mean_iou" in score:
            console.print(f"mean IoU, {which}: {score['mean_iou']:.2%}")
    console.print(f"Written to {output}", markup=False, soft_wrap=True)
