"""Collect scores into one table from the command line."""

import os

from keras_clmae.cli.backend import load_package
from keras_clmae.cli.command import UsageError
from keras_clmae.cli.parsing import make_parser
from keras_clmae.cli.parsing import parse

DESCRIPTION = """\
Collect scores of several runs into one Markdown table.

  keras-clmae report runs --output report.md"""


def main(arguments):
    """Prints the table."""
    parser = make_parser("report", DESCRIPTION)
    parser.add_argument(
        "paths",
        nargs="+",
        help="JSON files of knn, linear-probe and finetune, or folders in "
        "which to look for them.",
    )
    parser.add_argument("--output", help="Markdown file to write as well.")
    values = parse(parser, arguments)
    for path in values["paths"]:
        if not os.path.exists(path):
            raise UsageError(
                f"`paths` must exist. Received: {path!r}, which does not"
            )
    load_package(computes=False)
    from keras_clmae import evaluation
    from keras_clmae.saving import atomic_write

    table = evaluation.markdown_table(evaluation.read_records(values["paths"]))
    print(table)
    if values["output"]:
        with atomic_write(values["output"]) as unfinished:
            with open(unfinished, "w", encoding="utf-8") as file:
                file.write(table + "\n")
