"""Run the `keras-clmae` command: parse, call `runs` or `evaluation`, print."""

from keras_clmae.cli.command import main
from keras_clmae.cli.command import run
