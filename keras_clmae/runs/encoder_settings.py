"""The settings of what an encoder is used for, checked without Keras."""

import dataclasses
import os
from typing import Literal

from keras_clmae.runs.checks import check_positive_integer
from keras_clmae.runs.source_settings import OneSplit
from keras_clmae.runs.source_settings import SourceSettings

FEATURE_ENDINGS = (".parquet", ".npz", ".npy")


@dataclasses.dataclass
class ImageSettings(OneSplit, SourceSettings):
    """The settings of every use of a model on images in fixed order.

    Args:
        split: Split of the data. A folder without folders of splits is read
            whole.
    """

    split: str = "train"

    def check_paths(self):
        """Raises `ValueError` where a path cannot be used."""
        super().check_paths()
        folder = os.path.dirname(os.path.abspath(self.output or "."))
        if not os.path.isdir(folder):
            raise ValueError(
                "`output` must lie in a folder that exists. Received: "
                f"output={self.output!r}"
            )


@dataclasses.dataclass
class EmbedSettings(ImageSettings):
    """The settings of features that are written to a file.

    Args:
        output: File to write. A `.parquet` file has the columns `name`, `label`
            and `class_name` (where there are any) and `features`; an `.npz`
            file has arrays `names`, `labels`, `class_names` and `features`;
            an `.npy` file is the matrix of features alone, and a `.csv` file
            beside it has the names and labels of its rows.
        pooling: `mean`, `class_token` or `mean_before_norm`.
        precision: `float32`, `mixed_bfloat16`, or `auto`: the latter where
            device and backend are faster with it. Features are float32 in any
            case. Defaults to the encoder's own.
        labels: Whether to write labels. Without it, they are written where
            there are any; folders directly below that of the images count as
            classes.
    """

    output: str = "features.parquet"
    pooling: Literal["mean", "class_token", "mean_before_norm"] = "mean"
    precision: Literal["float32", "mixed_bfloat16", "auto"] | None = None
    labels: bool | None = None

    def __post_init__(self):
        super().__post_init__()
        self.output = os.fspath(self.output)
        if not self.output.endswith(FEATURE_ENDINGS):
            raise ValueError(
                f"`output` must end in one of {', '.join(FEATURE_ENDINGS)}. "
                f"Received: output={self.output!r}"
            )


@dataclasses.dataclass
class _SearchArguments:
    """Required arguments of a search, in the order of the command."""

    source: str
    data: str
    query: str


@dataclasses.dataclass
class SearchSettings(ImageSettings, _SearchArguments):
    """The settings of a search for the images that are nearest to one.

    Args:
        query: File of the image that is looked for.
        output: Figure to write.
        count: Number of images.
        pooling: `mean`, `class_token` or `mean_before_norm`.
        precision: `float32`, `mixed_bfloat16`, or `auto`: the latter where
            device and backend are faster with it. Features are float32 in any
            case. Defaults to the encoder's own.
        shown_channels: The one or three channels to show. Without it, the first
            three.
    """

    output: str | None = "neighbors.png"
    count: int = 8
    pooling: Literal["mean", "class_token", "mean_before_norm"] = "mean"
    precision: Literal["float32", "mixed_bfloat16", "auto"] | None = None
    shown_channels: list[int] | None = None

    def __post_init__(self):
        super().__post_init__()
        check_positive_integer("count", self.count)
        self.query = os.fspath(self.query)

    def check_paths(self):
        """Raises `ValueError` where a path cannot be used."""
        super().check_paths()
        if not os.path.isfile(self.query):
            raise ValueError(
                "`query` must be an image file. Received: "
                f"query={self.query!r}, which does not exist"
            )


@dataclasses.dataclass
class AnomalySettings(ImageSettings):
    """The settings of anomaly scores by reconstruction error.

    Args:
        output: Folder to write scores.csv and highest.png to. Made if it does
            not exist.
        score: How the error map of an image becomes its score: `max`, the
            error of its worst patch, or `mean`, over all patches.
        num_masks: Random masks per image. In each run of masks that follow each
            other every patch is hidden at least once.
        count: Images in the figure, those with the highest scores.
        shown_channels: The one or three channels to show. Without it, the first
            three.
    """

    output: str = "anomalies"
    score: Literal["max", "mean"] = "max"
    num_masks: int = 8
    count: int = 8
    shown_channels: list[int] | None = None

    def __post_init__(self):
        super().__post_init__()
        for name in ("num_masks", "count"):
            check_positive_integer(name, getattr(self, name))
        if self.image_size is not None:
            raise ValueError(
                "`image_size` must be left out: a reconstruction has the size "
                f"of the model's images. Received: image_size={self.image_size}"
            )
        self.output = os.fspath(self.output)
        if os.path.exists(self.output) and not os.path.isdir(self.output):
            raise ValueError(
                "`output` must be a folder. Received: "
                f"output={self.output!r}, which is a file"
            )
