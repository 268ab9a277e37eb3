"""Score an encoder by k-NN from the command line."""

from keras_clmae.cli.evaluation import parse_evaluation
from keras_clmae.cli.evaluation import print_scores
from keras_clmae.cli.evaluation import run_evaluation
from keras_clmae.runs.evaluation_settings import KNNSettings

DESCRIPTION = """\
Score an encoder by k-nearest-neighbor classification.

  keras-clmae knn runs/digits digits --baseline random

The features are compared by one of two named protocols, and the score is
written to a JSON file with everything that decided it."""


def main(arguments):
    """Scores; returns the record."""
    settings = parse_evaluation("knn", DESCRIPTION, KNNSettings, arguments)
    record, output = run_evaluation(settings)
    print_scores(record, output)
    return record
