"""Search a data set for the images that are most like one."""

import keras
import numpy as np

from keras_clmae import data
from keras_clmae import evaluation
from keras_clmae import visualization
from keras_clmae.runs.checks import settings_of
from keras_clmae.runs.embedding import image_names
from keras_clmae.runs.embedding import load_for_images
from keras_clmae.runs.embedding import progress
from keras_clmae.runs.encoder_settings import SearchSettings
from keras_clmae.runs.evaluation_data import load_split
from keras_clmae.runs.ranking import Highest


def search(source, data, query, output=None, **settings):
    """Finds the images whose features are most like those of an image.

    The same as `keras-clmae search`: likeness is the cosine of the angle
    between two features, 1 for the same direction.

    Args:
        source: str. Folder of a run or its `encoder/`, model file, preset or
            `hf://` name, as in `keras_clmae.evaluation.load_encoder`.
        data: str. Images to search: `"digits"`, a folder or `"tfds:NAME"`.
        query: str. File of the image that is looked for.
        output: str. Figure to write, or `None` for none. Defaults to `None`.
        **settings: further options of the command, such as `count=20`.

    Returns:
        List of pairs `(name, similarity)`, str and float, most similar first.

    Raises:
        ValueError: if a setting is unknown or wrong, or nothing is at `source`,
            `data` or `query`.

    Example:

    ```python
    for name, similarity in keras_clmae.runs.search(
        "runs/mine", "photos", "photos/cat.jpg", count=5
    ):
        print(f"{similarity:.2f} {name}")
    ```
    """
    values = {
        **{"source": source, "data": data, "query": query, "output": output},
        **settings,
    }
    return run_search(settings_of(SearchSettings, values))


def run_search(settings):
    """Searches as settings say; see `search`.

    Args:
        settings: `SearchSettings`.

    Returns:
        List of pairs of name and similarity.
    """
    settings.check_paths()
    keras.utils.set_random_seed(settings.seed)
    encoder, settled = load_for_images(settings)
    extractor = evaluation.FeatureExtractor(encoder, settings.pooling)
    dataset = load_split(settled, encoder, settings.split, labels=False)
    names = image_names(dataset)
    image = read_query(
        settings.query,
        encoder,
        dataset.normalization,
        settings.evaluation_crop,
    )
    wanted = unit_vectors(extractor.extract(image, verbose=0)[0])[0]
    nearest = Highest(settings.count)
    stream = extractor.stream(dataset)
    for images, features, _ in progress(stream, dataset, settings.verbose):
        batch_names = [next(names) for _ in images]
        nearest.update(unit_vectors(features) @ wanted, batch_names, images)
    found_names, found = nearest.columns()
    if settings.output is not None:
        shown = np.stack([image[0], *found])
        rgb = visualization.rgb_function(
            shown, dataset.normalization.inverse, settings.shown_channels
        )
        figure = visualization.neighbors_figure(
            image[0],
            np.stack(found),
            nearest.values,
            found_names,
            rgb,
            "Most similar first; above each image the cosine similarity",
        )
        visualization.save_figure(figure, settings.output)
    return list(zip(found_names, nearest.values.tolist(), strict=True))


def read_query(path, encoder, normalization, evaluation_crop):
    """Reads an image file as the data set reads its images.

    Args:
        path: str.
        encoder: `ViTEncoder`, of the size that images are scaled to.
        normalization: `PixelNormalization` of the data set.
        evaluation_crop: float. Of its images, too.

    Returns:
        float32 array of shape (1, height, width, channels).

    Raises:
        ValueError: if it is no image that the encoder can take.
    """
    *image_size, channels = encoder.image_shape
    try:
        dataset = data.record_dataset(
            [path],
            image_size=tuple(image_size),
            batch_size=1,
            transform=data.EvaluationTransform(
                tuple(image_size), evaluation_crop
            ),
            channels=channels if channels in (1, 3, 4) else None,
            statistics=normalization,
            on_error="raise",
        )
        return np.concatenate([np.asarray(batch) for batch in dataset])
    except Exception as error:
        raise ValueError(
            "`query` must be an image file that can be read, of the encoder's "
            f"{channels} channel(s). Received: query={path!r} ({error})"
        ) from error


def unit_vectors(features):
    """Scales the rows of a matrix to length 1; zeros stay."""
    lengths = np.linalg.norm(features, axis=-1, keepdims=True)
    return features / np.maximum(lengths, 1e-12)
