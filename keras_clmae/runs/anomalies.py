"""Score images by how badly a masked autoencoder rebuilds them."""

import csv
import os

import keras
import numpy as np

from keras_clmae import evaluation
from keras_clmae import visualization
from keras_clmae.evaluation.encoder_source import load_source
from keras_clmae.runs.checks import settings_of
from keras_clmae.runs.embedding import image_names
from keras_clmae.runs.embedding import progress
from keras_clmae.runs.encoder_settings import AnomalySettings
from keras_clmae.runs.evaluation_data import load_split
from keras_clmae.runs.evaluation_data import settle
from keras_clmae.runs.loading import weights_arguments
from keras_clmae.runs.ranking import Highest
from keras_clmae.saving import atomic_write

SCORES, FIGURE = "scores.csv", "highest.png"


def anomaly(source, data, output="anomalies", **settings):
    """Scores images by their reconstruction error, highest first.

    The same as `keras-clmae anomaly`. See `evaluation.PatchErrorMapper` for how
    the error of a patch is measured.

    Args:
        source: str. Folder of a run, or a file or folder of a whole
            `MaskedAutoencoder` or `CLMAE`.
        data: str. Images: `"digits"`, a folder or `"tfds:NAME"`.
        output: str. Folder for scores.csv (every image, the highest score
            first) and highest.png (the images with the highest scores above
            their error maps). Defaults to `"anomalies"`.
        **settings: further options of the command, such as `score="mean"` or
            `num_masks=16`.

    Returns:
        List of pairs `(name, score)`, str and float, highest first.

    Raises:
        ValueError: if a setting is unknown or wrong, or `source` holds an
            encoder only.

    Example:

    ```python
    scores = keras_clmae.runs.anomaly("runs/mine", "photos", "anomalies")
    print(scores[:3])
    ```
    """
    values = {"source": source, "data": data, "output": output, **settings}
    return run_anomaly(settings_of(AnomalySettings, values))


def run_anomaly(settings):
    """Scores as settings say; see `anomaly`.

    Args:
        settings: `AnomalySettings`.

    Returns:
        List of pairs of name and score, highest first.
    """
    settings.check_paths()
    keras.utils.set_random_seed(settings.seed)
    model = load_source(settings.source, **weights_arguments(settings))
    if not hasattr(getattr(model, "autoencoder", model), "decoder"):
        raise ValueError(
            "`source` must hold a whole MaskedAutoencoder or CLMAE, which "
            f"rebuilds images. Received: source={settings.source!r}, which "
            f"holds {type(model).__name__}"
        )
    settled = settle(settings, model)
    mapper = evaluation.PatchErrorMapper(
        model, settings.num_masks, settings.seed
    )
    dataset = load_split(settled, model, settings.split, labels=False)
    reduce = {"max": np.max, "mean": np.mean}[settings.score]
    names, scored = image_names(dataset), []
    highest = Highest(settings.count)
    stream = mapper.stream(dataset)
    for images, maps in progress(stream, dataset, settings.verbose):
        batch_names = [next(names) for _ in images]
        scores = reduce(maps, axis=(1, 2))
        scored += zip(batch_names, scores.tolist(), strict=True)
        highest.update(scores, batch_names, images, maps)
    scored.sort(key=lambda pair: -pair[1])
    os.makedirs(settings.output, exist_ok=True)
    draw_highest(settings, highest, dataset.normalization.inverse)
    write_scores(scored, settings)
    return scored


def write_scores(scored, settings):
    """Writes names and scores as CSV; the header says what a score is."""
    path = os.path.join(settings.output, SCORES)
    with atomic_write(path) as unfinished:
        with open(unfinished, "w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("name", f"{settings.score}_patch_error"))
            writer.writerows((name, f"{score:.9g}") for name, score in scored)


def draw_highest(settings, highest, inverse):
    """Draws the images with the highest scores above their error maps."""
    names, images, maps = highest.columns()
    images = np.stack(images)
    visualization.save_figure(
        visualization.anomalies_figure(
            images,
            np.stack(maps),
            highest.values,
            names,
            visualization.rgb_function(
                images, inverse, settings.shown_channels
            ),
            f"Highest {settings.score} reconstruction error of patches, "
            f"{settings.num_masks} masks",
        ),
        os.path.join(settings.output, FIGURE),
    )
