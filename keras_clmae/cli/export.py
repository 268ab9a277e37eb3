"""Export an encoder from the command line."""

from keras_clmae.cli.backend import load_package
from keras_clmae.cli.evaluation import parse_evaluation
from keras_clmae.runs.export_settings import PROGRAMS
from keras_clmae.runs.export_settings import ExportSettings

DESCRIPTION = """\
Write the encoder of a run for serving, or for another library.

  keras-clmae export runs/mine onnx
  keras-clmae export runs/mine huggingface --output my-vit

onnx, saved-model and torch are programs from images to features, which run
without this package; huggingface, timm and keras-hub are weights for these
libraries. `keras-clmae convert` has more choices for the latter."""


def main(arguments):
    """Exports; prints and returns the path."""
    settings = parse_evaluation(
        "export", DESCRIPTION, ExportSettings, arguments
    )
    load_package()
    from keras_clmae.runs.exporting import input_description
    from keras_clmae.runs.exporting import run_export

    output = run_export(settings)
    print(f"Written to {output}")
    if settings.format in PROGRAMS:
        print(input_description(settings))
    return output
