"""Score an encoder by a linear probe from the command line."""

from keras_clmae.cli.evaluation import parse_evaluation
from keras_clmae.cli.evaluation import print_scores
from keras_clmae.cli.evaluation import run_evaluation
from keras_clmae.runs.evaluation_settings import LinearProbeSettings

DESCRIPTION = """\
Score an encoder by a linear classifier on its frozen features.

  keras-clmae linear-probe runs/digits digits --baseline random
  keras-clmae linear-probe runs/cifar10 folder:cifar10 --solver lars
  keras-clmae linear-probe runs/cifar10 folder:cifar10 --few_shot true

The score is written to a JSON file with everything that decided it."""


def main(arguments):
    """Scores; returns the record."""
    settings = parse_evaluation(
        "linear-probe", DESCRIPTION, LinearProbeSettings, arguments
    )
    record, output = run_evaluation(settings)
    print_scores(record, output)
    return record
