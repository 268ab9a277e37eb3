"""Pretrains CL-MAE, or plain MAE, on pictures without labels.

    python scripts/pretrain.py --config scripts/recipes/digits.yaml

A recipe is a YAML file of the options below; options on the command line
replace those of the recipe. The run folder receives the resolved settings, the
log as CSV and TensorBoard events, checkpoints, pictures and model.keras.
"""

import dataclasses
import os
import signal
import sys
import time
import traceback
from typing import Any
from typing import Literal

import jsonargparse
from data_options import Statistics


@dataclasses.dataclass
class Settings:
    """What a pretraining run is made of.

    Args:
        run_dir: Folder of the run. It must not hold another run.
        data: `digits` (embedded, no download), `folder:PATH` or `tfds:NAME`.
        validation: What to validate on, for folders and TFDS: the share of a
            folder's pictures, or the name of a split. Nothing by default; the
            digits have their own split.
        method: `clmae`, or `mae` for the baseline with random masks.
        preset: Name of a size without its prefix, such as `tiny_patch4_32`.
            Without it, `model` gives all sizes.
        model: Sizes and arguments of the model, such as `hidden_dim` or
            `mask_ratio`; with `preset`, those that differ.
        masking_module: Arguments of the masking module, such as `num_layers` or
            `head`.
        image_size: Side of the images in pixels, for folders and TFDS.
        channels: 1, 3 or 4 to convert all pictures to this number. Without it
            they are taken as they are.
        statistics: Mean and standard deviation by which pixels are
            standardised: `imagenet`, `from_data` (measured in one pass), or
            two lists of one number a channel, such as `[[0.5], [0.2]]`, where
            white is 1. The run folder keeps them in normalization.json.
        cache: `memory`, or a folder for copies on a faster disk.
        data_dir: Where TFDS keeps its data sets.
        batch_size: Images in a step, on all devices together.
        epochs: Passes over the images.
        base_learning_rate: Highest learning rate, for a batch of 256 images.
        scale_learning_rate: Whether the learning rate is multiplied by
            batch_size / 256, however many devices share the batch.
        warmup_epochs: Epochs in which the learning rate rises from 0. Then it
            falls along half a cosine.
        masking_learning_rate: Constant learning rate of the masking module.
            Without it, it learns on the schedule of the autoencoder.
        weight_decay: AdamW's decay, of both players.
        curriculum: How the curriculum factor falls: `linear` every step,
            `linear_per_epoch` as published, `cosine`, or `constant`.
        initial_factor: Curriculum factor at the start, or the constant one.
        final_factor: Curriculum factor at the end.
        masking_update_period: Steps from one masking phase to the next.
        update: `alternating` or `simultaneous`.
        precision: `float32` or `mixed_bfloat16`.
        jit_compile: Whether to compile the step; `auto` is Keras's choice. On
            GPUs `true` makes PyTorch faster.
        steps_per_execution: Steps in one call of the compiled step.
        seed: Seed of weights, masks and the order of the images.
        distribution: `data` gives every device a part of each batch, `model`
            (JAX) splits the weights, too, `none` uses one device, `auto` is
            `data` where there are several devices or processes.
        model_devices: With `model`, devices that hold one copy of the weights.
        simulated_devices: Split the CPU into so many devices, to try it out.
        multi_host: Whether JAX asks its runtime for the other hosts (Cloud
            TPU); otherwise the launcher's environment tells.
        checkpoint_every: Epochs from one checkpoint to the next.
        keep: Number of newest checkpoints that stay.
        pictures_every: Epochs from one picture of masks and reconstructions to
            the next. Without it, about twenty over the run.
        knn_every: Epochs from one k-NN accuracy of the encoder to the next,
            in the log and TensorBoard; the pictures must have classes.
            Without it, none is measured.
        knn_bank: Images among which neighbours are looked for. They are held
            in memory: 0.6 MB each of 224 x 224 x 3.
        knn_queries: Images that are classified, of the validation data where
            there are any, else others of the training data.
        bands: The one or three channels that pictures show. Without it, the
            first three.
        verbose: 1 a line an epoch that moves, 2 one that does not, 0 nothing.
    """

    run_dir: str
    data: str = "digits"
    validation: float | str | None = None
    method: Literal["clmae", "mae"] = "clmae"
    preset: str | None = None
    model: dict[str, Any] = dataclasses.field(default_factory=dict)
    masking_module: dict[str, Any] = dataclasses.field(default_factory=dict)
    image_size: int = 224
    channels: int | None = None
    statistics: Statistics = "imagenet"
    cache: str | None = None
    data_dir: str | None = None
    batch_size: int = 256
    epochs: int = 200
    base_learning_rate: float = 1e-3
    scale_learning_rate: bool = True
    warmup_epochs: int = 40
    masking_learning_rate: float | None = None
    weight_decay: float = 0.05
    curriculum: Literal["linear", "linear_per_epoch", "cosine", "constant"] = (
        "linear"
    )
    initial_factor: float = 1.0
    final_factor: float = -1.0
    masking_update_period: int = 1
    update: Literal["alternating", "simultaneous"] = "alternating"
    precision: Literal["float32", "mixed_bfloat16"] = "float32"
    jit_compile: bool | Literal["auto"] = "auto"
    steps_per_execution: int = 1
    seed: int = 0
    distribution: Literal["auto", "none", "data", "model"] = "auto"
    model_devices: int | None = None
    simulated_devices: int | None = None
    multi_host: bool = False
    checkpoint_every: int = 1
    keep: int = 2
    pictures_every: int | None = None
    knn_every: int | None = None
    knn_bank: int = 5000
    knn_queries: int = 2000
    bands: list[int] | None = None
    verbose: Literal[0, 1, 2] = 1


def build_parser():
    parser = jsonargparse.ArgumentParser(
        prog="pretrain.py",
        description="Pretrains CL-MAE, or plain MAE, on pictures without "
        "labels. Options on the command line replace those of the recipe.",
        formatter_class=jsonargparse.DefaultHelpFormatter,
    )
    parser.add_argument(
        "--config", action="config", help="Recipe: a YAML file of options."
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="Go on from the newest checkpoint of the run folder, with the "
        "settings stored there, whatever else is given.",
    )
    parser.add_class_arguments(Settings)
    return parser


def parse_settings(arguments=None):
    """Reads the command line; gives the settings and whether to resume."""
    parser = build_parser()
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    parsed = parser.parse_args(arguments)
    if parsed.resume:
        stored = os.path.join(parsed.run_dir, "config.yaml")
        if not os.path.isfile(stored):
            parser.error(
                "`run_dir` must hold the config.yaml of the run to resume. "
                f"Received: run_dir={parsed.run_dir!r}"
            )
        parsed = parser.parse_args(
            [f"--config={stored}", f"--run_dir={parsed.run_dir}", "--resume"]
        )
    elif os.path.exists(os.path.join(parsed.run_dir, "config.yaml")):
        parser.error(
            "`run_dir` holds a run already: choose another folder, or pass "
            f"--resume to go on with it. Received: run_dir={parsed.run_dir!r}"
        )
    values = parsed.as_dict()
    values.pop("config", None)
    resume = values.pop("resume")
    return Settings(**values), resume


def stored_settings(run_dir):
    """Reads the settings of a run from its folder.

    Args:
        run_dir: Folder of the run.

    Returns:
        `Settings` with this `run_dir`, wherever the folder lay before.
    """
    stored = os.path.join(run_dir, "config.yaml")
    if not os.path.isfile(stored):
        raise ValueError(
            "`run_dir` must be the folder of a run, with a config.yaml. "
            f"Received: run_dir={run_dir!r}"
        )
    values = (
        build_parser()
        .parse_args([f"--config={stored}", f"--run_dir={run_dir}"])
        .as_dict()
    )
    return Settings(
        **{
            field.name: values[field.name]
            for field in dataclasses.fields(Settings)
        }
    )


def _leave(status):
    """Ends the program, from one process of several without waiting."""
    from keras_clmae import distribution

    if distribution.current_plan().process_count > 1:
        # An orderly end would wait for the others, which wait for this one.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


def main(arguments=None):
    settings, resume = parse_settings(arguments)
    os.environ.setdefault("KERAS_BACKEND", "jax")
    # Keras and its backend load here, so that --help answers at once.
    from pretraining import run
    from run_summary import print_closing

    from keras_clmae import distribution
    from keras_clmae.callbacks import TrainingInterrupted

    started = time.time()
    try:
        result = run(settings, resume)
    except TrainingInterrupted as interruption:
        print(f"{interruption}. Go on with --resume.", file=sys.stderr)
        if distribution.current_plan().is_over_jax_processes:
            import jax

            # All are here; without this the end of one would abort the others.
            jax.distributed.shutdown()
            # Nor shall it wait for them at its end.
            _leave(128 + signal.SIGTERM)
        sys.exit(128 + signal.SIGTERM)
    except (ValueError, ImportError, OSError, FloatingPointError) as error:
        print(f"error: {error}", file=sys.stderr)
        _leave(1)
    except Exception:
        if distribution.current_plan().process_count == 1:
            raise
        traceback.print_exc()
        _leave(1)
    if settings.verbose and distribution.is_first_process():
        print_closing(settings, time.time() - started)
    return result


if __name__ == "__main__":
    main()
