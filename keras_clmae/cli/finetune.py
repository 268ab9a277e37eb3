"""Fine-tune from the command line."""

from keras_clmae.cli.evaluation import parse_evaluation
from keras_clmae.cli.evaluation import print_scores
from keras_clmae.cli.evaluation import run_evaluation
from keras_clmae.runs.evaluation_settings import FineTuneSettings

DESCRIPTION = """\
Fine-tune an encoder with labels and score the classifier.

  keras-clmae finetune runs/cifar10 folder:cifar10 --baseline random
  keras-clmae finetune runs/digits digits --images_per_class 10
  keras-clmae finetune runs/photos folder:images --task segmentation \\
      --masks masks

MAE's recipe; the score is written to a JSON file with everything that decided
it. The baseline trains the same network from scratch in the same way."""


def main(arguments):
    """Fine-tunes; returns the record."""
    settings = parse_evaluation(
        "finetune", DESCRIPTION, FineTuneSettings, arguments
    )
    record, output = run_evaluation(settings)
    print_scores(record, output)
    return record
