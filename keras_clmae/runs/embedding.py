"""Write the features of images to a file, with the names of the images."""

import json

import keras
import numpy as np

from keras_clmae import evaluation
from keras_clmae import models
from keras_clmae.data.damage import display_name
from keras_clmae.kernels.bfloat16 import settle_precision
from keras_clmae.runs.checks import settings_of
from keras_clmae.runs.encoder_settings import EmbedSettings
from keras_clmae.runs.evaluation_data import image_shape
from keras_clmae.runs.evaluation_data import load_split
from keras_clmae.runs.evaluation_data import settle
from keras_clmae.runs.feature_files import check_can_write
from keras_clmae.runs.feature_files import open_feature_file
from keras_clmae.runs.folder import normalization_values
from keras_clmae.runs.loading import weights_arguments


def embed(source, data, output="features.parquet", **settings):
    """Writes the features of images to a file, with the images' names.

    The same as `keras-clmae embed`. The images come in a fixed order, damaged
    ones are left out, and one batch at a time is held in memory.

    Args:
        source: str. Folder of a run or its `encoder/`, model file, preset or
            `hf://` name, as in `keras_clmae.evaluation.load_encoder`.
        data: str. Images: `"digits"`, a folder or `"tfds:NAME"`.
        output: str. File to write, whole or not at all: `.parquet`, `.npz`, or
            `.npy` with a `.csv` file of the names beside it. Defaults to
            `"features.parquet"`.
        **settings: further options of the command, such as
            `pooling="class_token"`.

    Returns:
        str. Path of the file.

    Raises:
        ValueError: if a setting is unknown or wrong, or nothing is at `source`
            or `data`.
        ImportError: if pyarrow is missing, for `.parquet`.

    Example:

    ```python
    keras_clmae.runs.embed("runs/mine", "photos", "features.parquet")
    table = pyarrow.parquet.read_table("features.parquet").to_pandas()
    ```
    """
    values = {"source": source, "data": data, "output": output, **settings}
    return run_embedding(settings_of(EmbedSettings, values))


def run_embedding(settings):
    """Embeds as settings say; see `embed`.

    Args:
        settings: `EmbedSettings`.

    Returns:
        str. Path of the file.
    """
    settings.check_paths()
    check_can_write(settings.output)
    keras.utils.set_random_seed(settings.seed)
    encoder, settled = load_for_images(settings)
    dataset, all_labels, class_names = load_with_labels(
        settled, encoder, settings.labels
    )
    names = image_names(dataset)
    metadata = {
        "source": settings.source,
        "data": settings.data,
        "pooling": settings.pooling,
    }
    if settled.statistics is not None:
        values = normalization_values(settled.statistics)
        metadata["normalization"] = json.dumps(values)
    extractor = evaluation.FeatureExtractor(encoder, settings.pooling)
    stream = progress(extractor.stream(dataset), dataset, settings.verbose)
    batch = next(stream)
    with open_feature_file(
        settings.output,
        encoder.hidden_dim,
        batch[2] is not None or all_labels is not None,
        class_names,
        metadata,
    ) as append:
        start = 0
        while batch is not None:
            _, features, labels = batch
            end = start + len(features)
            if all_labels is not None:
                labels = all_labels[start:end]
            append([next(names) for _ in features], features, labels)
            start, batch = end, next(stream, None)
    return settings.output


def load_for_images(settings):
    """Loads the encoder, for images of the size that the settings ask for.

    Args:
        settings: `EmbedSettings` or `SearchSettings`.

    Returns:
        A pair: `ViTEncoder`, and the settings that `settle` completed.
    """
    encoder = evaluation.load_encoder(
        settings.source, **weights_arguments(settings)
    )
    settled = settle(settings, encoder)
    sized = models.copy_encoder(
        encoder,
        image_shape(settled, encoder),
        dtype=settle_precision(settings.precision),
    )
    return sized, settled


def load_with_labels(settings, encoder, labels):
    """Loads images in fixed order, with labels where there are any.

    Args:
        settings: `ImageSettings` that `settle` completed.
        encoder: `ViTEncoder`.
        labels: bool, or `None` for labels where there are any.

    Returns:
        A triple: batches `images` or `(images, labels)`; for the former an
        array of the labels that belong to them, or `None`; and the list of the
        names of the classes, or `None`.
    """

    def load(labels):
        return load_split(settings, encoder, settings.split, labels=labels)

    kind = settings.data.partition(":")[0]
    if labels is None and kind in ("digits", "tfds"):
        try:
            labels, dataset = True, load(True)
        except ValueError:
            # No classes; whatever else is wrong is raised again.
            labels, dataset = False, load(False)
    else:
        dataset = load(bool(labels))
    class_names = getattr(dataset, "class_names", None)
    if labels is not None:
        return dataset, None, class_names if labels else None
    if kind == "folder":
        return dataset, *folder_labels(dataset.names)
    records = dataset.records
    return dataset, records.labels, records.records.class_names


def folder_labels(names):
    """Numbers the folders that images lie in, where these may be classes.

    Args:
        names: list of str. Paths of the images in a folder, with `/`.

    Returns:
        A pair: int array of labels and list of str, the names of the classes;
        or `(None, None)` where an image lies in no folder, or all in one.
    """
    owners = [name.partition("/")[0] for name in names]
    classes, labels = np.unique(owners, return_inverse=True)
    if len(classes) < 2 or not all("/" in name for name in names):
        return None, None
    return labels, classes.tolist()


def image_names(dataset):
    """Gives the names of the images of a data set in fixed order.

    Args:
        dataset: what `load_split` gave.

    Yields:
        str. The `names` of the data set, or numbers from 0 on.
    """
    names = getattr(dataset, "names", None)
    if names is not None:
        yield from map(display_name, names)
        return
    number = 0
    while True:
        yield str(number)
        number += 1


def progress(batches, dataset, verbose):
    """Passes batches through, with a progress bar where `verbose` is 1."""
    steps = getattr(dataset, "steps_per_epoch", None)
    bar = keras.utils.Progbar(steps) if verbose else None
    for step, batch in enumerate(batches):
        yield batch
        if bar is not None:
            bar.update(step + 1)
