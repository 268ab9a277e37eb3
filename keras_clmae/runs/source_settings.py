"""Define the settings of every use of a model on images, without Keras."""

import dataclasses
import os
from typing import Any

from keras_clmae.runs.checks import DEFAULT_EVALUATION_CROP
from keras_clmae.runs.checks import check_cache
from keras_clmae.runs.checks import check_data_arguments
from keras_clmae.runs.checks import check_data_exists
from keras_clmae.runs.checks import check_image_options
from keras_clmae.runs.checks import check_literals
from keras_clmae.runs.checks import check_positive_integer
from keras_clmae.runs.checks import check_source
from keras_clmae.runs.checks import data_spec
from keras_clmae.runs.settings import Statistics


@dataclasses.dataclass
class SourceSettings:
    """The settings of a model, and of the images that it is used on.

    Args:
        source: Folder of a run or its encoder/, `.keras` file, preset (folder
            or name) or published checkpoint (`.pth`).
        data: Images: `digits`, `folder:PATH`, the path of a folder,
            `tfds:NAME`, `hf-dataset:NAME`, `webdataset:PATH` or
            `parquet:PATH`. Where there is a split to learn from and one to
            score, a folder has both in it.
        data_arguments: Further arguments of the function that reads the images,
            such as `{image_column: photo}` of parquet files.
        image_size: Side of the images in pixels. Defaults to the model's.
        channels: 1, 3 or 4, to convert the images. Defaults to the model's.
        evaluation_crop: Share of the sides of a resized image that is shown,
            from its middle; 1 cuts nothing off the shorter side.
        statistics: How pixels are standardized: `imagenet`, `from_data` (by
            the split to learn from, if there is one), or the lists [mean, std]
            of one number per channel. Defaults to what the folder of the model
            says, else to `imagenet`.
        cache: `memory`, a folder for copies on a faster disk, or `device`:
            pixels of one size stay on the accelerator, which crops and flips.
        data_dir: Where TFDS keeps its data sets.
        batch_size: Images in a batch; all of them where there are fewer.
        num_heads: Attention heads of the encoder, for `.pth` files.
        decoder_num_heads: Attention heads of the decoder, for `.pth` files.
        key: Which weights of a `.pth` file are meant, such as `teacher`.
        prefix: Start of the names that are meant in a `.pth` or `.safetensors`
            file, such as `backbone.`.
        seed: Seed of everything that is drawn.
        verbose: 1 a progress bar, 0 nothing.
    """

    source: str
    data: str
    image_size: int | None = None
    channels: int | None = None
    evaluation_crop: float = DEFAULT_EVALUATION_CROP
    statistics: Statistics | None = None
    cache: str | None = None
    data_dir: str | None = None
    data_arguments: dict[str, Any] = dataclasses.field(default_factory=dict)
    batch_size: int = 256
    num_heads: int | None = None
    decoder_num_heads: int | None = None
    key: str | None = None
    prefix: str = ""
    seed: int = 0
    verbose: int = 1

    def __post_init__(self):
        self.source = os.fspath(self.source)
        self.data = data_spec(self.data)
        kind = "masks" if getattr(self, "masks", None) else None
        check_data_arguments(self.data, self.data_arguments, kind)
        check_image_options(self)
        check_cache(self)
        check_literals(self)
        check_positive_integer("batch_size", self.batch_size)

    def check_paths(self):
        """Raises `ValueError` where `source` or `data` does not exist."""
        check_source(self.source)
        check_data_exists(self.data)


class OneSplit:
    """Mixin of settings that read one split."""

    @property
    def train_split(self):
        """The split by which `from_data` standardizes."""
        return self.split
