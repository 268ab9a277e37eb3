"""The settings of a pretraining run, checked without importing Keras."""

import dataclasses
import os
from typing import Any
from typing import Literal

from keras_clmae.runs.checks import DEFAULT_EVALUATION_CROP
from keras_clmae.runs.checks import SIZES
from keras_clmae.runs.checks import check_cache
from keras_clmae.runs.checks import check_data_arguments
from keras_clmae.runs.checks import check_data_exists
from keras_clmae.runs.checks import check_image_options
from keras_clmae.runs.checks import check_literals
from keras_clmae.runs.checks import check_positive_integer
from keras_clmae.runs.checks import check_sizes
from keras_clmae.runs.checks import data_spec
from keras_clmae.runs.checks import settings_of
from keras_clmae.runs.folder import RunFolder
from keras_clmae.runs.own_code import check_function_name
from keras_clmae.runs.parts import NAMES
from keras_clmae.runs.parts import part_of
from keras_clmae.runs.yaml_files import read_yaml
from keras_clmae.runs.yaml_files import write_yaml

# How the setting `statistics` is given.
Statistics = Literal["imagenet", "from_data"] | list[list[float]]
# A name, a name with arguments, or a class of the user's own.
Part = dict[str, Any] | str
# The published warm-up, of 200 epochs.
PUBLISHED_WARMUP = 40
# Kinds of data whose images can be looked at before a run.
_LISTED = ("folder", "hf-dataset", "webdataset", "parquet")
# Names in run folders of earlier versions.
_RENAMED = {"bands": "shown_channels"}


@dataclasses.dataclass
class Settings:
    """The settings of a pretraining run.

    Args:
        run_dir: Folder of the run. It must not hold another run.
        data: `digits` (embedded, no download), `folder:PATH`, the path of a
            folder, `tfds:NAME`, `hf-dataset:NAME` (of the Hub, or a folder of
            `save_to_disk`), `webdataset:PATH` (tar files) or `parquet:PATH`.
        data_arguments: Further arguments of the function that reads the images,
            such as `{image_column: photo}` of parquet files.
        validation: What to validate on, but for the digits, which have their
            own split: the share of the images, or the name of a split. Nothing
            by default.
        method: `clmae`, or `mae` for the baseline with random masks.
        preset: Name of a size, such as `tiny_patch4_32`.
            Without it, `model` gives all sizes.
        model: Sizes and arguments of the model, such as `hidden_dim` or
            `mask_ratio`; with `preset`, those that differ.
        objective: By what `clmae` trains the masking module: `curriculum` (the
            paper's four terms), `patch_error` (the module predicts the errors
            of the patches), either with arguments, as in
            `{name: patch_error, sharpness: 2.0}`, or a class of your own as
            `{class_path: my_module.Objective, init_args: {...}}`. Defaults to
            the paper's; where settings are chosen, to `patch_error`.
        masking_module: Arguments of the masking module, such as `num_layers`,
            `width` or `head`; or a layer of your own by `class_path` and
            `init_args`. What is left out is what the objective asks for.
        masker: Masks that are drawn, for `mae`, and for the share of images
            that `random_mask_share` asks for: `random`, `block`, `grid` or
            `color_noise`, with arguments as in `{name: block, num_blocks: 2}`,
            or a layer of your own by `class_path`. Defaults to `random`.
        random_mask_share: Share of each batch whose masks are drawn instead of
            learned, from 0 (as published) to below 1.
        image_size: Side of the images in pixels, for folders and TFDS.
        channels: 1, 3 or 4 to convert all images to this number. Without it
            they are taken as they are.
        crop_scale: Least share of an image's area that its random crop shows,
            as of all images but the digits. 1 cuts the largest square out of
            the middle instead.
        flip: Whether to mirror every other image from left to right, or the
            share of images to mirror.
        color_jitter: Brightness, contrast and, of RGB images, saturation are
            multiplied by numbers that differ from 1 by at most so much, 1 at
            most. 0 leaves the colors as they are.
        augmentation: Function of your own, as `my_module:function`, for each
            image after crop and flip; see `keras_clmae.data.PretrainTransform`.
        evaluation_crop: Share of the sides of a resized image that validation
            shows, from its middle; 1 cuts nothing off the shorter side.
        statistics: Mean and standard deviation by which pixels are
            standardized: `imagenet`, `from_data` (measured in one pass), or
            two lists of one number per channel, such as `[[0.5], [0.2]]`, where
            white is 1. The run folder keeps them in normalization.json.
        cache: `memory`, a folder for copies on a faster disk, or `device`:
            pixels of one size stay on the accelerator, which crops and flips.
        data_dir: Where TFDS keeps its data sets.
        batch_size: Images per step, on all devices together.
        epochs: Passes over the images.
        base_learning_rate: Highest learning rate, for a batch of 256 images.
        scale_learning_rate: Whether the learning rate is multiplied by
            batch_size / 256, however many devices share the batch.
        warmup_epochs: Epochs in which the learning rate rises from 0. Then it
            falls along half a cosine. Without it, a fifth of `epochs`, at most
            the published 40; likewise where it is not below `epochs`.
        masking_learning_rate: Constant learning rate of the masking module.
            Without it, it learns on the schedule of the autoencoder.
        weight_decay: AdamW's decay, of both players.
        curriculum: How the curriculum factor falls: `linear` every step,
            `linear_per_epoch` as published, `cosine`, or `constant`.
        initial_factor: Curriculum factor at the start, or the constant one.
        final_factor: Curriculum factor at the end.
        masking_update_period: Steps from one masking phase to the next.
        update: `alternating` or `simultaneous`.
        precision: `float32`, `mixed_bfloat16`, or `auto`: the latter where
            device and backend are faster with it, else `float32`.
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
        pictures_every: Epochs from one figure of masks and reconstructions to
            the next; 0 draws none. Without it, about twenty over the run.
        knn_every: Epochs from one k-NN accuracy of the encoder to the next,
            in the log and TensorBoard; the images must have classes.
            Without it, none is measured.
        knn_bank: Images among which neighbors are looked for. They are held
            in memory: 0.6 MB each of 224 x 224 x 3.
        knn_queries: Images that are classified, of the validation data where
            there are any, else others of the training data.
        shown_channels: The one or three channels that figures show. Without
            it, the first three.
        logger: Also sends the log to `wandb` (Weights & Biases) or `mlflow`, by
            their own clients and environment variables. TensorBoard's events
            are always written.
        callbacks: Functions of your own, as `my_module:make` or a list of such
            names, that make callbacks: each takes these settings or nothing,
            and returns a `keras.callbacks.Callback` or a list of them. In the
            first of several processes only.
        verbose: 1 a line per epoch that moves, 2 one that does not, 0 nothing.
        line_minutes: Where lines do not move, as in log files, minutes from one
            to the next within a long epoch.

    Example:

    >>> settings = keras_clmae.runs.Settings("runs/mine", epochs=100)
    >>> settings.num_warmup_epochs
    20
    """

    run_dir: str
    data: str = "digits"
    data_arguments: dict[str, Any] = dataclasses.field(default_factory=dict)
    validation: float | str | None = None
    method: Literal["clmae", "mae"] = "clmae"
    preset: str | None = None
    model: dict[str, Any] = dataclasses.field(default_factory=dict)
    objective: Part | None = None
    masking_module: dict[str, Any] = dataclasses.field(default_factory=dict)
    masker: Part | None = None
    random_mask_share: float = 0.0
    image_size: int = 224
    channels: int | None = None
    crop_scale: float = 0.2
    flip: bool | float = True
    color_jitter: float = 0.0
    augmentation: str | None = None
    evaluation_crop: float = DEFAULT_EVALUATION_CROP
    statistics: Statistics = "imagenet"
    cache: str | None = None
    data_dir: str | None = None
    batch_size: int = 256
    epochs: int = 200
    base_learning_rate: float = 1e-3
    scale_learning_rate: bool = True
    warmup_epochs: int | None = None
    masking_learning_rate: float | None = None
    weight_decay: float = 0.05
    curriculum: Literal["linear", "linear_per_epoch", "cosine", "constant"] = (
        "linear"
    )
    initial_factor: float = 1.0
    final_factor: float = -1.0
    masking_update_period: int = 1
    update: Literal["alternating", "simultaneous"] = "alternating"
    precision: Literal["float32", "mixed_bfloat16", "auto"] = "float32"
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
    shown_channels: list[int] | None = None
    logger: Literal["tensorboard", "wandb", "mlflow"] = "tensorboard"
    callbacks: str | list[str] | None = None
    verbose: Literal[0, 1, 2] = 1
    line_minutes: float = 5.0

    def __post_init__(self):
        self.data = data_spec(self.data)
        check_data_arguments(self.data, self.data_arguments)
        check_literals(self)
        check_image_options(self)
        check_cache(self)
        for name in ("batch_size", "epochs"):
            check_positive_integer(name, getattr(self, name))
        for setting in NAMES:
            if getattr(self, setting):
                part_of(setting, getattr(self, setting))
        for name in asked_callbacks(self):
            check_function_name("callbacks", name)
        if not self.line_minutes > 0:
            raise ValueError(
                "`line_minutes` must be above 0. Received: "
                f"line_minutes={self.line_minutes}"
            )
        if not 0 <= self.random_mask_share < 1:
            raise ValueError(
                "`random_mask_share` must be in [0, 1). Received: "
                f"random_mask_share={self.random_mask_share}"
            )
        for name in ("warmup_epochs", "pictures_every"):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise ValueError(
                    f"`{name}` must be 0 or more. Received: {name}={value}"
                )

    @property
    def title(self):
        """The method, and the masks of one that learns none, a str."""
        if self.method == "clmae":
            return "CL-MAE"
        path, _ = part_of("masker", self.masker or "random")
        names = {path: name for name, path in NAMES["masker"].items()}
        name = names.get(path, path.rpartition(".")[2])
        return f"MAE, {name.replace('_', ' ')} masks"

    @property
    def num_warmup_epochs(self):
        """Epochs of warm-up where `warmup_epochs` leaves them open, an int."""
        asked = self.warmup_epochs
        if asked is None or asked >= self.epochs:
            return min(PUBLISHED_WARMUP, self.epochs // 5)
        return asked


def asked_callbacks(settings):
    """Lists the names in `callbacks` of the settings of a run.

    Args:
        settings: `Settings`.

    Returns:
        List of str.
    """
    names = settings.callbacks or []
    return [names] if isinstance(names, str) else names


def make_settings(values):
    """Makes settings from a mapping.

    Args:
        values: dict from names to values.

    Returns:
        A `Settings`.

    Raises:
        ValueError: if a name is unknown, `run_dir` is missing, or a value is
            none of its choices.
    """
    return settings_of(Settings, values)


def read_settings(run_dir):
    """Reads the settings of a run from its folder.

    Args:
        run_dir: str. Folder of the run.

    Returns:
        A `Settings` with this `run_dir`, wherever the folder lay before.

    Raises:
        ValueError: if the folder holds no run.

    Example:

    ```python
    settings = keras_clmae.runs.read_settings("runs/digits")
    print(settings.epochs)
    ```
    """
    folder = RunFolder(run_dir)
    if not folder.has_run():
        raise ValueError(
            "`run_dir` must be the folder of a run, with a config.yaml. "
            f"Received: run_dir={run_dir!r}"
        )
    values = read_yaml(folder.config)
    values = {_RENAMED.get(name, name): each for name, each in values.items()}
    return make_settings({**values, "run_dir": folder.path})


def write_settings(settings):
    """Keeps settings in the run folder.

    Args:
        settings: `Settings`.
    """
    write_yaml(RunFolder(settings.run_dir).config, dataclasses.asdict(settings))


def needs_choices(values):
    """Tells whether a run has no word on sizes, and images to choose by.

    Args:
        values: dict. Arguments of `Settings` that were given.

    Returns:
        bool.
    """
    model = values.get("model") or {}
    data = data_spec(values.get("data") or "digits")
    kind, _, place = data.partition(":")
    return (
        kind in _LISTED
        and (kind != "folder" or os.path.isdir(place))
        and values.get("preset") is None
        and not all(name in model for name in SIZES)
    )


def check_new_run(values):
    """Makes settings of a run in a new folder.

    Args:
        values: dict. Arguments of `Settings`.

    Returns:
        A `Settings`.

    Raises:
        ValueError: if the folder holds a run already, or a value is wrong.
    """
    settings = make_settings(values)
    if RunFolder(settings.run_dir).has_run():
        raise ValueError(
            "`run_dir` holds a run already: choose another folder, or "
            "resume it (--resume, `resume=True`). Received: "
            f"run_dir={settings.run_dir!r}"
        )
    return settings


def settings_to_run(values, resume=False):
    """Settles what is to run, and refuses what cannot.

    Args:
        values: dict. Arguments of `Settings`.
        resume: bool. Whether to go on with the run in the folder, with the
            settings stored there, whatever else is given.

    Returns:
        A `Settings`.

    Raises:
        ValueError: if the folder holds a run already, or none to resume; or if
            the folder of images does not exist.
    """
    if resume:
        run_dir = values.get("run_dir")
        if run_dir is None or not RunFolder(run_dir).has_run():
            raise ValueError(
                "`run_dir` must hold the config.yaml of the run to resume. "
                f"Received: run_dir={run_dir!r}"
            )
        settings = read_settings(run_dir)
    else:
        settings = check_new_run(values)
    check_sizes(settings)
    check_data_exists(settings.data)
    return settings
