"""Open the sources of records by the strings that programs take."""

import os

from keras_clmae.data.sources.huggingface import hf_dataset
from keras_clmae.data.sources.parquet import parquet_dataset
from keras_clmae.data.sources.webdataset import webdataset


def _hf_dataset(place, split, image_size, batch_size, **arguments):
    """Opens `NAME` or `NAME:SPLIT`, the latter in the place of `train`."""
    name, colon, part = place.partition(":")
    # The colon may be that of a Windows drive, or of a folder's name.
    if colon and not os.path.isdir(place):
        place = name
        split = part if split == "train" else split
    return hf_dataset(place, split, image_size, batch_size, **arguments)


def _webdataset(place, split, image_size, batch_size, **arguments):
    return webdataset(place, image_size, batch_size, split, **arguments)


def _parquet(place, split, image_size, batch_size, **arguments):
    return parquet_dataset(place, image_size, batch_size, split, **arguments)


# What comes before the colon, and what opens the rest.
SOURCES = {
    "hf-dataset": _hf_dataset,
    "webdataset": _webdataset,
    "parquet": _parquet,
}
