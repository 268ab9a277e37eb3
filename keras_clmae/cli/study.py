"""Run a study from the command line."""

import os
import shlex

from keras_clmae.cli.backend import load_package
from keras_clmae.cli.interruption import interruptible
from keras_clmae.cli.parsing import checked
from keras_clmae.cli.parsing import make_parser
from keras_clmae.cli.parsing import parse
from keras_clmae.runs.study_settings import read_study

DESCRIPTION = """\
Compare methods over seeds: a grid of runs from one YAML file.

  keras-clmae study docs/studies/digits.yaml
  keras-clmae study docs/studies/digits.yaml --methods mae recommended --seeds 0
  keras-clmae study docs/studies/digits.yaml --table_only

Each run leaves one JSON file with its scores; the same command again skips
those and goes on with the run that was interrupted. At the end table.md and
figure.png sum up all results that are there."""


def main(arguments):
    """Runs the study; returns its results."""
    parser = make_parser("study", DESCRIPTION)
    parser.add_argument("path", help="The YAML file of the study.")
    parser.add_argument(
        "--methods", nargs="+", help="Run some of the methods only."
    )
    parser.add_argument(
        "--seeds", nargs="+", type=int, help="Run some of the seeds only."
    )
    parser.add_argument(
        "--table_only",
        action="store_true",
        help="Make table and figure of the results that are there.",
    )
    values = parse(parser, arguments)
    path = values.pop("path")
    study = checked(read_study, path)
    chosen = values["methods"], values["seeds"]
    checked(study.planned_runs, *chosen)
    load_package(computes=not values["table_only"])
    from keras_clmae.runs.studying import run_study

    go_on = shlex.join(["keras-clmae", "study", *arguments])
    with interruptible(go_on, lambda: True):
        records = run_study(study, *chosen, values["table_only"])
    print(os.path.join(study.output, "table.md"))
    return records
