"""Search for images from the command line."""

from keras_clmae.cli.backend import load_package
from keras_clmae.cli.evaluation import parse_evaluation
from keras_clmae.runs.encoder_settings import SearchSettings

DESCRIPTION = """\
Show the images that are most like one, as a figure.

  keras-clmae search runs/mine photos cat.jpg --output cats.png

Likeness is the cosine of the angle between two features; 1 is the most."""


def main(arguments):
    """Searches; prints and returns names and similarities."""
    settings = parse_evaluation(
        "search", DESCRIPTION, SearchSettings, arguments
    )
    load_package()
    from keras_clmae.runs.searching import run_search

    found = run_search(settings)
    for name, similarity in found:
        print(f"{similarity:6.3f}  {name}")
    print(f"Written to {settings.output}")
    return found
