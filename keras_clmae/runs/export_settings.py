"""The settings of an export, checked without importing Keras."""

import dataclasses
import os
from typing import Literal

from keras_clmae.runs.checks import check_literals
from keras_clmae.runs.checks import check_source

# What is appended to `encoder` where no path is given.
ENDINGS = {
    "onnx": ".onnx",
    "saved-model": "_saved_model",
    "torch": ".pt2",
    "huggingface": "_huggingface",
    "timm": ".safetensors",
    "keras-hub": "_keras_hub",
}
# Programs without our code; the others are files of weights.
PROGRAMS = ("onnx", "saved-model", "torch")


@dataclasses.dataclass
class ExportSettings:
    """The settings of an export of the encoder.

    Args:
        source: Folder of a run or its encoder/, `.keras` file, preset (folder
            or name) or published checkpoint (`.pth`).
        format: `onnx`, `saved-model` or `torch` (a `torch.export` program): the
            encoder as a program that runs without this package; `huggingface`,
            `timm` or `keras-hub`: its weights, for these libraries.
        output: File or folder to write. Defaults to `encoder` with the ending
            of the format, in the run folder, or in the working directory.
        pooling: What `onnx`, `saved-model` and `torch` give for an image:
            `mean`, `class_token` or `mean_before_norm`, one vector, or
            `tokens`, all of them. Defaults to `mean`.
        num_heads: Attention heads of the encoder, for `.pth` files.
        decoder_num_heads: Attention heads of the decoder, for `.pth` files.
        key: Which weights of a `.pth` file are meant, such as `teacher`.
        prefix: Start of the names that are meant in a `.pth` or `.safetensors`
            file, such as `backbone.`.
    """

    source: str
    format: Literal[
        "onnx", "saved-model", "torch", "huggingface", "timm", "keras-hub"
    ]
    output: str | None = None
    pooling: (
        Literal["mean", "class_token", "mean_before_norm", "tokens"] | None
    ) = None
    num_heads: int | None = None
    decoder_num_heads: int | None = None
    key: str | None = None
    prefix: str = ""

    def __post_init__(self):
        self.source = os.fspath(self.source)
        check_literals(self)
        if self.pooling is not None and self.format not in PROGRAMS:
            raise ValueError(
                f"`pooling` must be left out with `format={self.format}`, a "
                f"file of weights. Received: pooling={self.pooling!r}"
            )

    def check_paths(self):
        """Raises `ValueError` where there is nothing at `source`."""
        check_source(self.source)
