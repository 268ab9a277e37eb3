"""Describes the masks that a CL-MAE run has learned: have they collapsed?

    python scripts/mask_statistics.py runs/digits digits

The figures go to a JSON file as well, with everything that decided them.
"""

import dataclasses
import os
import sys
import time
import warnings

import jsonargparse
from data_options import Statistics
from evaluating import HelpFormatter
from evaluating import all_settings
from evaluating import default_output
from evaluating import load_split
from evaluating import settle


@dataclasses.dataclass
class Options:
    """Options of the mask statistics.

    Args:
        source: Folder of a CL-MAE run, `.keras` file, preset folder or
            published checkpoint (`.pth`).
        data: Pictures: `digits`, `folder:PATH` or `tfds:NAME`.
        output: JSON file to write. Defaults to a new file in the run folder, or
            in the working directory.
        name: Name of what is described. Defaults to the source without its
            seed.
        split: Split of the data.
        image_size: Side of the images in pixels. Defaults to the model's.
        channels: 1, 3 or 4, to convert the pictures. Defaults to the model's.
        statistics: How pixels are standardised: `imagenet`, `from_data`, or
            the lists [mean, std] of one number a channel. Defaults to what the
            run has in its folder, or `imagenet`.
        cache: `memory`, or a folder for copies on a faster disk.
        data_dir: Where TFDS keeps its data sets.
        batch_size: Images in a batch.
        num_heads: Attention heads of the encoder, for `.pth` files.
        decoder_num_heads: Attention heads of the decoder, for `.pth` files.
        seed: Seed of the random masks that the learned ones are compared with.
        verbose: 1 a progress bar, 0 nothing.
    """

    source: str
    data: str
    output: str | None = None
    name: str | None = None
    split: str = "test"
    image_size: int | None = None
    channels: int | None = None
    statistics: Statistics | None = None
    cache: str | None = None
    data_dir: str | None = None
    batch_size: int = 256
    num_heads: int | None = None
    decoder_num_heads: int | None = None
    seed: int = 0
    verbose: int = 1

    @property
    def train_split(self):
        """The split by which `from_data` standardises."""
        return self.split


def main(arguments=None):
    parser = jsonargparse.ArgumentParser(
        description=__doc__, formatter_class=HelpFormatter
    )
    parser.add_class_arguments(Options, as_positional=True)
    options = Options(**parser.parse_args(arguments).as_dict())
    os.environ.setdefault("KERAS_BACKEND", "jax")
    try:
        return describe(options)
    except (ValueError, ImportError, OSError) as error:
        sys.exit(f"error: {error}")


def describe(asked):
    """Measures, prints and stores; returns the record."""
    # Keras and its backend load here, so that --help answers at once.
    import keras
    from rich.console import Console

    from keras_clmae import evaluation
    from keras_clmae.evaluation.encoder_source import load_source

    started = time.perf_counter()
    keras.utils.set_random_seed(asked.seed)
    model = load_source(asked.source, asked.num_heads, asked.decoder_num_heads)
    if not hasattr(model, "masking_module"):
        raise ValueError(
            "`source` must hold a CLMAE, which learns masks. Received: "
            f"source={asked.source!r}, which holds {type(model).__name__}"
        )
    options = settle(asked, model.encoder)
    pictures = load_split(options, model.encoder, asked.split, labels=False)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        statistics = evaluation.mask_statistics(
            model, pictures, verbose=asked.verbose
        )
    visible = statistics["visible_share"] = statistics["visible_share"].tolist()
    collapses = [
        str(warning.message)
        for warning in caught
        if "masks have collapsed" in str(warning.message)
    ]
    record = evaluation.make_record(
        name=asked.name or evaluation.run_name(asked.source),
        protocol="mask statistics",
        data=asked.data,
        scores={},
        settings=all_settings(asked, None, options),
        seconds=time.perf_counter() - started,
    )
    # No score: nothing for the table of scores.
    del record["scores"]
    record |= {"statistics": statistics, "warnings": collapses}
    output = asked.output or default_output(
        asked.source, record["protocol"], record
    )
    evaluation.write_record(record, output)
    console = Console()
    console.print(_table(asked.source, statistics))
    console.print(_grid(visible))
    for message in collapses:
        console.print(message, style="yellow", markup=False)
    for warning in caught:
        if str(warning.message) not in collapses:
            warnings.warn_explicit(
                warning.message,
                warning.category,
                warning.filename,
                warning.lineno,
            )
    console.print(f"Written to {output}", markup=False)
    return record


_MEANINGS = {
    "mask_ratio": "share of removed tokens",
    "keep_score_mean": "should be near 1 - mask_ratio",
    "keep_score_std": "over images and tokens",
    "undecided_share": "scores near 0.5; near 1 is a collapse",
    "entropy": "bits, 0 (decided) to 1 (all 0.5)",
    "mask_overlap": "random masks: 1 - mask_ratio; near 1 is a collapse",
    "learned_mask_loss": "MAE's loss under learned masks",
    "random_mask_loss": "under random masks",
    "difficulty": "learned over random; above 1 is harder",
}


def _table(source, statistics):
    from rich.table import Table

    table = Table("statistic", "value", "meaning", title=f"Masks of {source}")
    for name, meaning in _MEANINGS.items():
        table.add_row(name, f"{statistics[name]:.4f}", meaning)
    return table


def _grid(visible):
    """How often each position is visible, in percent."""
    from rich.table import Table

    table = Table(title="Visible, % of images", show_header=False, box=None)
    for row in visible:
        table.add_row(*(f"{100 * share:3.0f}" for share in row))
    return table


if __name__ == "__main__":
    main()
