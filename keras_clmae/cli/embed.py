"""Write the features of images from the command line."""

from keras_clmae.cli.backend import load_package
from keras_clmae.cli.evaluation import parse_evaluation
from keras_clmae.runs.encoder_settings import EmbedSettings

DESCRIPTION = """\
Write the features of images to a file, with the names of the images.

  keras-clmae embed runs/mine photos --output features.parquet
  keras-clmae embed runs/mine/encoder folder:photos --output features.npz

One row per image, in the order of the sorted names; damaged images are left
out. The file is whole or absent."""


def main(arguments):
    """Embeds; prints and returns the path of the file."""
    settings = parse_evaluation("embed", DESCRIPTION, EmbedSettings, arguments)
    load_package()
    from keras_clmae.runs.embedding import run_embedding

    print(run_embedding(settings))
    return settings.output
