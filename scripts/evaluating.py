"""What the evaluation programs share: options, data, baseline, the record."""

import argparse
import contextlib
import dataclasses
import hashlib
import itertools
import json
import os
import sys
import time
from typing import Literal

import jsonargparse
from data_options import Statistics
from data_options import normalization_values
from data_options import read_normalization
from data_options import source_arguments


@dataclasses.dataclass
class Common:
    """Options of every evaluation program.

    Args:
        source: Folder of a run, `.keras` file, preset (folder or name) or
            published checkpoint (`.pth`).
        data: Labelled pictures: `digits`, `folder:PATH` with the folders train
            and test in it, or `tfds:NAME`.
        output: JSON file to write. Defaults to a new file in the run folder, or
            in the working directory, named after the protocol, the seed and,
            by a few letters, all other settings.
        baseline: `random` also scores an untrained encoder of the same sizes.
        name: Name of the row in the report. Defaults to the source without its
            seed: runs/cifar10_seed3 is runs/cifar10.
        image_size: Side of the images in pixels. Defaults to the encoder's.
        channels: 1, 3 or 4, to convert the pictures of folders and TFDS.
            Defaults to the encoder's.
        statistics: How pixels are standardised: `imagenet`, `from_data` (by
            the training split), or the lists [mean, std] of one number a
            channel. Defaults to what the run has in its folder, or
            `imagenet`.
        cache: `memory`, or a folder for copies on a faster disk.
        data_dir: Where TFDS keeps its data sets.
        batch_size: Images in a batch.
        train_split: Split to learn from.
        test_split: Split to score.
        num_heads: Attention heads of the encoder, for `.pth` files.
        decoder_num_heads: Attention heads of the decoder, for `.pth` files.
        seed: Seed of everything that is drawn.
        verbose: 1 a progress bar, 0 nothing.
    """

    source: str
    data: str
    output: str | None = None
    baseline: Literal["random"] | None = None
    name: str | None = None
    image_size: int | None = None
    channels: int | None = None
    statistics: Statistics | None = None
    cache: str | None = None
    data_dir: str | None = None
    batch_size: int = 256
    train_split: str = "train"
    test_split: str = "test"
    num_heads: int | None = None
    decoder_num_heads: int | None = None
    seed: int = 0
    verbose: int = 1


class HelpFormatter(
    argparse.RawDescriptionHelpFormatter, jsonargparse.DefaultHelpFormatter
):
    """Keeps the lines of the program's docstring."""


def run_program(description, own_class, evaluate, arguments=None):
    """Parses the command line, scores the encoder and writes the record.

    Args:
        description: The program's docstring.
        own_class: Dataclass of the program's own options.
        evaluate: Function of (common, own, encoder, which) that returns a dict
            of scores; which is `"pretrained"` or `"random"`, and
            `own.protocol_label()` names the protocol.
        arguments: List of strings. Defaults to the command line.

    Returns:
        The record.
    """
    parser = jsonargparse.ArgumentParser(
        description=description,
        formatter_class=HelpFormatter,
    )
    parser.add_argument(
        "--config", action="config", help="A YAML file of options."
    )
    parser.add_class_arguments(Common, as_positional=True)
    parser.add_class_arguments(own_class)
    values = parser.parse_args(arguments).as_dict()
    common, own = (
        each(**{f.name: values[f.name] for f in dataclasses.fields(each)})
        for each in (Common, own_class)
    )
    os.environ.setdefault("KERAS_BACKEND", "jax")
    try:
        return _run(common, own, evaluate)
    except (ValueError, ImportError, OSError) as error:
        sys.exit(f"error: {error}")


def _run(common, own, evaluate):
    # Keras and its backend load here, so that --help answers at once.
    import keras
    from rich.console import Console

    from keras_clmae import evaluation

    started = time.perf_counter()
    keras.utils.set_random_seed(common.seed)
    encoder = evaluation.load_encoder(
        common.source, common.num_heads, common.decoder_num_heads
    )
    asked = common
    common = settle(common, encoder)
    scores = {"pretrained": evaluate(common, own, encoder, "pretrained")}
    if common.baseline == "random":
        keras.utils.set_random_seed(common.seed)
        untrained = evaluation.untrained_copy(encoder)
        scores["random"] = evaluate(common, own, untrained, "random")
    record = evaluation.make_record(
        name=common.name or evaluation.run_name(common.source),
        protocol=own.protocol_label(),
        data=common.data,
        scores=scores,
        settings=all_settings(asked, own, common),
        seconds=time.perf_counter() - started,
    )
    output = common.output or default_output(
        common.source, own.protocol_label(), record
    )
    evaluation.write_record(record, output)
    console = Console()
    for which, score in scores.items():
        console.print(
            f"{own.protocol_label()}, {which}: {score['accuracy']:.2%}",
            markup=False,
        )
    console.print(f"Written to {output}", markup=False)
    return record


def settle(common, encoder):
    """Fills in the options that are decided by encoder, run and data.

    Args:
        common: options with those of `Common` that concern the data.
        encoder: `ViTEncoder`, or a model with its `image_shape`.

    Returns:
        A copy, whose `statistics` is a `PixelNormalization` (or `None` for the
        digits, which have their own).
    """
    from keras_clmae.data.pipeline import get_normalization

    if common.data == "digits":
        if common.statistics is not None:
            raise ValueError(
                "`statistics` must be left out with `data=digits`. Received: "
                f"statistics={common.statistics!r}"
            )
        return common
    channels = encoder.image_shape[-1]
    if common.channels not in (None, channels):
        raise ValueError(
            f"`channels` must be the encoder's, {channels}. Received: "
            f"channels={common.channels}"
        )
    if channels in (1, 3, 4):
        common = dataclasses.replace(common, channels=channels)
    statistics = common.statistics
    if statistics is None:
        statistics = read_normalization(common.source) or "imagenet"
    if statistics == "from_data":
        # In a training order nothing is read yet but what is to be measured.
        train = load_split(common, encoder, common.train_split, "pretrain")
        normalization = train.normalization
    else:
        normalization = get_normalization(statistics, channels, None)
    return dataclasses.replace(common, statistics=normalization)


def all_settings(asked, own, settled):
    """Everything that a score depends on, as it is stored.

    Args:
        asked: the options as they were given.
        own: dataclass of the program's own options, or `None`.
        settled: what `settle` made of `asked`.
    """
    settings = dataclasses.asdict(asked)
    if own is not None:
        settings |= dataclasses.asdict(own)
    if settled.statistics is not None:
        settings["normalization"] = normalization_values(settled.statistics)
    return settings


def default_output(source, label, record):
    """Path of a file that holds no other score.

    Args:
        source: str. As in `load_encoder`.
        label: str. What is measured.
        record: dict that is to be written.

    Returns:
        str. The same settings lead to the same name; a file of this name that
        holds other results stays.
    """
    settings = record["settings"]
    decisive = {
        name: value
        for name, value in settings.items()
        if name
        not in ("output", "name", "verbose", "save", "cache", "data_dir")
    }
    text = json.dumps(decisive, sort_keys=True)
    digest = hashlib.blake2b(text.encode(), digest_size=4).hexdigest()
    label = "".join(c if c.isalnum() else "_" for c in label)
    folder = "."
    with contextlib.suppress(OSError):
        if os.path.isfile(os.path.join(source, "model.keras")):
            folder = source
    stem = os.path.join(folder, f"{label}_seed{settings['seed']}_{digest}")
    names = itertools.chain([""], (f"_{n}" for n in itertools.count(2)))
    return next(
        path
        for path in (f"{stem}{name}.json" for name in names)
        if not os.path.exists(path) or _holds(path, record)
    )


def _holds(path, record):
    """Whether a file has the results of `record` already."""
    results = ("scores", "statistics")
    record = json.loads(json.dumps(record))
    with contextlib.suppress(OSError, ValueError, AttributeError):
        with open(path, encoding="utf-8") as file:
            stored = json.load(file)
        return all(stored.get(each) == record.get(each) for each in results)
    return False


def load_split(common, encoder, split, transform="evaluation", **arguments):
    """Labelled batches of a split, in the size of the encoder's images.

    Args:
        common: `Common` that `settle` has seen.
        encoder: `ViTEncoder`.
        split: Name of the split.
        transform: As in `keras_clmae.data.load`; none for the digits.
        **arguments: further ones of `data.load`.

    Returns:
        Batches `(images, labels)`.
    """
    from keras_clmae import data

    if common.data != "digits":
        arguments = {"statistics": common.statistics, **arguments}
    return data.load(
        common.data,
        image_size=image_shape(common, encoder)[:2],
        batch_size=common.batch_size,
        split=split,
        transform=transform,
        seed=common.seed,
        shuffle=transform != "evaluation",
        **{"labels": True, **source_arguments(common), **arguments},
    )


def load_test_split(common, encoder, train):
    """The test split, with its classes numbered as in the training split.

    Args:
        common: `Common` that `settle` has seen.
        encoder: `ViTEncoder`.
        train: the training split.
    """
    arguments = {}
    if common.data.startswith("folder:"):
        arguments["class_names"] = train.class_names
    return load_split(common, encoder, common.test_split, **arguments)


def count_classes(dataset):
    """Number of classes of a labelled data set."""
    if getattr(dataset, "class_names", None):
        return len(dataset.class_names)
    return int(dataset.labels.max()) + 1


def image_shape(common, encoder):
    """(height, width, channels) of the images to be scored."""
    if common.image_size is None:
        return encoder.image_shape
    return (common.image_size, common.image_size, encoder.image_shape[-1])


def extract_splits(common, encoder, pooling):
    """Features and labels of the training and the test split, as four arrays.

    Args:
        common: `Common`.
        encoder: `ViTEncoder`.
        pooling: As in `extract_features`.
    """
    from keras_clmae import evaluation
    from keras_clmae import models

    sized = models.copy_encoder(encoder, image_shape(common, encoder))
    extractor = evaluation.FeatureExtractor(sized, pooling)
    train = load_split(common, encoder, common.train_split)
    test = load_test_split(common, encoder, train)
    arrays = []
    for split in (train, test):
        arrays += extractor.extract(split, verbose=common.verbose)
    return arrays
