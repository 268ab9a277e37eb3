"""What the evaluation programs share: options, data, baseline, the record."""

import argparse
import contextlib
import dataclasses
import os
import sys
import time
from typing import Literal

import jsonargparse


@dataclasses.dataclass
class Common:
    """Options of every evaluation program.

    Args:
        source: Folder of a run, `.keras` file, preset (folder or name) or
            published checkpoint (`.pth`).
        data: Labelled pictures: `digits`, `folder:PATH` with the folders train
            and test in it, or `tfds:NAME`.
        output: JSON file to write. Defaults to a file named after the protocol
            in the run folder, or in the working directory.
        baseline: `random` also scores an untrained encoder of the same sizes.
        name: Name of the row in the report. Defaults to the source without its
            seed: runs/cifar10_seed3 is runs/cifar10.
        image_size: Side of the images in pixels. Defaults to the encoder's.
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
        settings={**dataclasses.asdict(common), **dataclasses.asdict(own)},
        seconds=time.perf_counter() - started,
    )
    output = common.output or _default_output(common, own)
    evaluation.write_record(record, output)
    console = Console()
    for which, score in scores.items():
        console.print(
            f"{own.protocol_label()}, {which}: {score['accuracy']:.2%}",
            markup=False,
        )
    console.print(f"Written to {output}", markup=False)
    return record


def _default_output(common, own):
    label = "".join(
        character if character.isalnum() else "_"
        for character in own.protocol_label()
    )
    folder = "."
    with contextlib.suppress(OSError):
        if os.path.isfile(os.path.join(common.source, "model.keras")):
            folder = common.source
    return os.path.join(folder, f"{label}_seed{common.seed}.json")


def load_split(common, encoder, split, transform="evaluation"):
    """Labelled batches of a split, in the size of the encoder's images.

    Args:
        common: `Common`.
        encoder: `ViTEncoder`.
        split: Name of the split.
        transform: As in `keras_clmae.data.from_spec`; none for the digits.

    Returns:
        Batches `(images, labels)`.
    """
    from keras_clmae import data

    return data.from_spec(
        common.data,
        image_size=image_shape(common, encoder)[:2],
        batch_size=common.batch_size,
        split=split,
        transform=transform,
        labels=True,
        shuffle=transform != "evaluation",
        seed=common.seed,
    )


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
    arrays = []
    for split in (common.train_split, common.test_split):
        arrays += extractor.extract(
            load_split(common, encoder, split), verbose=common.verbose
        )
    return arrays
