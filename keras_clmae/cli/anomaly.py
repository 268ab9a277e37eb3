"""Score images by their reconstruction error from the command line."""

from keras_clmae.cli.backend import load_package
from keras_clmae.cli.evaluation import parse_evaluation
from keras_clmae.runs.encoder_settings import AnomalySettings

DESCRIPTION = """\
Score images by their reconstruction error.

  keras-clmae anomaly runs/mine photos --output anomalies

Every patch is hidden under several random masks, and its error averaged over
them. The folder receives scores.csv, the highest score first, and highest.png,
the images with the highest scores above their error maps."""


def main(arguments):
    """Scores; prints the highest, and returns names and scores."""
    settings = parse_evaluation(
        "anomaly", DESCRIPTION, AnomalySettings, arguments
    )
    load_package()
    from keras_clmae.runs.anomalies import run_anomaly

    scored = run_anomaly(settings)
    for name, score in scored[: settings.count]:
        print(f"{score:10.4g}  {name}")
    print(f"Written to {settings.output}")
    return scored
