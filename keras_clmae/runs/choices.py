"""Choose the settings of a run from the images, and say why.

The rules are tables, and rules of thumb: they keep a run between what too few
images can fill and what a device can hold. None was tuned by experiments. Where
a number is that of a paper, its comment says so.
"""

import dataclasses
import io
import math
import os

import numpy as np

# Up to this shorter side, in pixels: side of the images, patch. The last row is
# MAE's (https://arxiv.org/abs/2111.06377); the others are ours, about 64 tokens
# as of CIFAR-10's 32 pixels with patches of 4.
IMAGE_SIZES = (
    (12, 8, 2),
    (24, 16, 2),
    (48, 32, 4),
    (112, 64, 8),
    (180, 128, 16),
    (math.inf, 224, 16),
)
# Largest side that is chosen where there is no GPU.
LARGEST_ON_CPU = 64
# Below this number of images: size of the model. Ours.
MODEL_SIZES = ((20_000, "tiny"), (200_000, "small"), (math.inf, "base"))
# Below this number of images: epochs. 200 as CL-MAE's code; fewer images are
# seen more often, which is ours, as are the epochs of CPUs.
EPOCHS = ((10_000, 400), (math.inf, 200))
EPOCHS_ON_CPU = 100
# As in CL-MAE's code, for 200 epochs: a fifth, at most 40.
LONGEST_WARMUP = 40
# The batch for which learning rates are given, as in CL-MAE's code.
LARGEST_BATCH, SMALLEST_BATCH = 256, 8
# Steps that an epoch should have. Ours.
MIN_STEPS = 8
# Share of the memory that a step may take by its count. Peaks were 1.04 times
# the count on PyTorch and 1.32 times on JAX (ViT-B/16, one H200); the rest is
# for others.
MEMORY_SHARE = 0.6
# Of the speed of a large matrix product, what a step of training reaches: 39 %
# on JAX and 31 % on PyTorch with ViT-B/16 on one H200.
UTILIZATION = 0.4
# Recipes by size of the model, and what is taken from them.
RECIPES = {"tiny": "cifar10", "small": "cifar10", "base": "imagenet_base"}
FROM_RECIPE = ("base_learning_rate", "weight_decay", "curriculum")
# The recommended masks, as in the recipe digits: easy ones first, hard ones
# last, by a predictor of a quarter of the encoder's width (docs/evaluation.md).
OBJECTIVE = {"name": "patch_error", "sharpness": 2.0}
FINAL_FACTOR = -0.5
MASKING_LEARNING_RATE = 2e-4
PREDICTOR = {"num_layers": 1, "num_heads": 2, "head": "per_token"}
# A word on any of these is a word on the masks.
ABOUT_MASKS = ("objective", "masking_module", "masker", "random_mask_share")
# Files that are looked at.
SAMPLES = 64


@dataclasses.dataclass(frozen=True)
class ImageListing:
    """Properties of the images that decide the choices.

    Attributes:
        count: int. Images.
        side: int. The median of their shorter sides, in pixels.
        channels: int. What `image_folder` would give them.
        deep: bool. Whether a channel has more than 8 bits. Defaults to
            `False`.
    """

    count: int
    side: int
    channels: int
    deep: bool = False


@dataclasses.dataclass(frozen=True)
class Device:
    """Properties of the machine that decide the choices.

    Attributes:
        is_gpu: bool. Whether there is a GPU, or a TPU.
        memory: int. Bytes that a step may use.
        bfloat16: bool. Whether it is faster in bfloat16.
    """

    is_gpu: bool
    memory: int
    bfloat16: bool


@dataclasses.dataclass(frozen=True)
class Choice:
    """A chosen setting.

    Attributes:
        name: str. The setting.
        value: its value.
        reason: str.
    """

    name: str
    value: object
    reason: str


def choose(given, images, device):
    """Chooses the settings that are not given.

    Args:
        given: dict. Arguments of `Settings` that were given.
        images: `ImageListing`.
        device: `Device`.

    Returns:
        A pair: the dict of all arguments, and the list of `Choice`s. What was
        given is never chosen.
    """
    values, choices = dict(given), []
    values["model"] = dict(given.get("model") or {})

    def add(name, value, reason):
        if values.get(name) is None:
            values[name] = value
            choices.append(Choice(name, value, reason))

    _choose_images(values, choices, add, images, device)
    size = _choose_model(values, add, images, device)
    _choose_masks(values, add)
    _choose_training(values, add, images, device, size)
    return values, choices


def _choose_images(values, choices, add, images, device):
    if images.channels in (1, 3, 4):
        add("channels", images.channels, "as the files have")
    if images.channels not in (1, 3):
        add("statistics", "from_data", "ImageNet's fit 1 or 3 channels")
    elif images.deep:
        # 12 bits in files of 16 are common: nearly black by ImageNet's.
        add("statistics", "from_data", "16 bits are seldom used to the full")
    place = "" if device.is_gpu else ", without a GPU at most 64"
    largest = math.inf if device.is_gpu else LARGEST_ON_CPU
    side, _ = _image_size(min(images.side, largest))
    add(
        "image_size",
        side,
        f"shorter sides are {images.side} pixels in the median{place}",
    )
    side = values["image_size"]
    model = values["model"]
    # A named size brings a patch along, and so does a patch of one's own.
    if values.get("preset") is None and "patch_size" not in model:
        _, patch = _image_size(side)
        model["patch_size"] = patch = math.gcd(patch, side)
        tokens = (side // patch) ** 2
        choices.append(
            Choice("model.patch_size", patch, f"{tokens} tokens per image")
        )


def _choose_model(values, add, images, device):
    size = next(name for most, name in MODEL_SIZES if images.count < most)
    reason = f"for {images.count:,} images"
    if not device.is_gpu:
        size, reason = "tiny", "without a GPU"
    if "patch_size" in values["model"]:
        reason += "; its layers and widths, not its patch and image size"
    add("preset", f"{size}_patch16_224", reason)
    return str(values["preset"]).partition("_")[0]


def _choose_masks(values, add):
    from keras_clmae.models.presets import PRESETS

    if values.get("method") == "mae" or any(map(values.get, ABOUT_MASKS)):
        return
    sizes = {**PRESETS[_size_name(values["preset"])], **values["model"]}
    width = 2 * max(sizes["hidden_dim"] // 8, 1)
    why = "ahead of the paper's on digits, at a third of its work"
    add("objective", dict(OBJECTIVE), why)
    why = "a quarter of the encoder's width"
    add("masking_module", {**PREDICTOR, "width": width}, why)
    add("final_factor", FINAL_FACTOR, "harder masks take too much away")
    why = "constant: the errors to predict change until the end"
    add("masking_learning_rate", MASKING_LEARNING_RATE, why)


def _choose_training(values, add, images, device, size):
    from keras_clmae.runs.recipes import load_recipe

    name = RECIPES.get(size, "imagenet_base")
    recipe = load_recipe(name)
    for each in FROM_RECIPE:
        if each in recipe:
            add(each, recipe[each], f"as the recipe {name}")
    if device.bfloat16:
        add("precision", "mixed_bfloat16", "faster on this device")
    most = batch_that_fits(values, images, device)
    even = _power_of_two(images.count // MIN_STEPS)
    batch = max(min(most, even, LARGEST_BATCH), SMALLEST_BATCH)
    batch = min(batch, images.count)
    why = {
        LARGEST_BATCH: "as MAE's learning rate counts",
        most: f"fits {device.memory / 2**30:.0f} GB of memory",
        even: f"{MIN_STEPS} steps per epoch",
    }
    add("batch_size", batch, why.get(batch, "no smaller"))
    epochs = next(number for most, number in EPOCHS if images.count < most)
    reason = f"for {images.count:,} images"
    if not device.is_gpu:
        epochs, reason = EPOCHS_ON_CPU, "without a GPU"
    add("epochs", epochs, reason)
    warmup = min(LONGEST_WARMUP, values["epochs"] // 5)
    add("warmup_epochs", warmup, "a fifth of the epochs, at most 40")


def batch_that_fits(values, images, device):
    """Largest power of two of images whose step fits into the memory.

    Args:
        values: dict. Arguments of `Settings` with all sizes.
        images: `ImageListing`.
        device: `Device`.

    Returns:
        int, 1 at least.
    """
    from keras_clmae.runs.step_size import STATE_BYTES

    size = counted_step(values, images.channels)
    width = 2 if values.get("precision") == "mixed_bfloat16" else 4
    checkpointed = bool(values["model"].get("gradient_checkpointing"))
    parameters = size.autoencoder_parameters + size.masking_parameters
    room = MEMORY_SHARE * device.memory - STATE_BYTES * parameters
    return _power_of_two(room / size.bytes_per_image[checkpointed, width])


def counted_step(values, channels):
    """Counts the work of a step; see `step_size`.

    Args:
        values: dict. Arguments of `Settings` with all sizes.
        channels: int. Of the images.

    Returns:
        A `StepSize`.
    """
    from keras_clmae.runs.step_size import step_size

    side = values["image_size"]
    name = values.get("preset")
    name = name and _size_name(name)
    sizes = {**values["model"], "image_shape": (side, side, channels)}
    return step_size(name, **sizes)


def _size_name(preset):
    """Name of a size without the prefix of a kind of model."""
    return preset.removeprefix("clmae_").removeprefix("mae_")


def list_images(data, channels=None, arguments=None):
    """Looks at the images of a folder, of shards or of a table.

    Args:
        data: str. `folder:PATH`, `webdataset:PATH` and the like.
        channels: int. To which they are to be converted. Defaults to `None`:
            to none.
        arguments: dict. Further arguments of the function that reads them.
            Defaults to `None`.

    Returns:
        An `ImageListing`.

    Raises:
        ValueError: if not a single image can be read.
    """
    kind, _, place = data.partition(":")
    if kind == "folder":
        count, found, looks = _look_at_folder(place, channels)
    else:
        count, found, looks = _look_at_records(data, channels, arguments or {})
    looks = [look for look in looks if look]
    if not looks:
        raise ValueError(
            "`data` must hold images that can be read. Received: "
            f"{data!r}, where none of {min(count, SAMPLES)} can"
        )
    sides, deep = zip(*looks, strict=True)
    return ImageListing(count, int(np.median(sides)), found, any(deep))


def _look_at_folder(place, channels):
    """Number of images, their channels, and what `_look_at` says of some."""
    from keras_clmae.data.folder_source import make_decoder
    from keras_clmae.data.listing import list_images as list_files
    from keras_clmae.data.loading import split_folder

    images = list_files(split_folder(place, "train"))
    found = make_decoder(images, channels).channels

    def look(path):
        try:
            with open(path, "rb") as file:
                return _look_at(file)
        except OSError:
            return None

    return len(images), found, map(look, _some(images.paths))


def _look_at_records(data, channels, arguments):
    """The same of shards and tables."""
    from keras_clmae.data.loading import load
    from keras_clmae.data.sources.image_bytes import image_bytes
    from keras_clmae.data.sources.record_source import fitting_decoder

    # To find the records: nothing is read yet.
    part = load(data, 8, batch_size=1, channels=3, **arguments).records
    found = channels or fitting_decoder(part.records).channels

    def look(number):
        try:
            contents = image_bytes(part.records.read(number)[0])
        # Whatever a source raises for what it cannot read.
        except Exception:
            return None
        return _look_at(io.BytesIO(contents))

    return len(part), found, map(look, _some(part.numbers))


def _some(entries):
    return entries[:: max(len(entries) // SAMPLES, 1)]


def _look_at(file):
    """Shorter side in pixels of an image file, and whether it has over 8 bits.

    Returns:
        A pair, or `None` where the file is damaged.
    """
    from PIL import Image

    from keras_clmae.data.decoding import read_pixels

    try:
        # Reads the head of the file only.
        with Image.open(file) as image:
            # Pillow turns colors of 16 bits into 8, but tells what is stored.
            deep = image.mode[0] in "IF" or ";16" in str(image.tile)
            return min(image.size), deep
    except (OSError, ValueError, SyntaxError):
        pass
    try:
        file.seek(0)
        pixels = read_pixels(file.read())
        return min(pixels.shape[:2]), pixels.dtype != np.uint8
    # Whatever a decoder raises for a damaged file, which is named later.
    except Exception:
        return None


def find_device(simulated_devices=None):
    """Finds the device of Keras's backend and its memory.

    Args:
        simulated_devices: int. As in `Settings`: the CPU is split then, and
            must not be looked at before.

    Returns:
        A `Device`.

    Raises:
        ValueError: if this is one of several processes, which must not look at
            devices before they are joined.
    """
    from keras_clmae import distribution
    from keras_clmae.distribution import device_memory
    from keras_clmae.kernels import bfloat16_is_fast

    if distribution.launched_process().world_size > 1:
        raise ValueError(
            "Settings must be given, or a recipe, where several processes run "
            "together: `--dry_run` in one process prints those that it would "
            "choose."
        )
    memory, fast = None, False
    if not simulated_devices:
        memory = device_memory.accelerator_memory()
        fast = bfloat16_is_fast()
    if memory is not None:
        return Device(True, memory, fast)
    pages, size = (os.sysconf(n) for n in ("SC_PHYS_PAGES", "SC_PAGE_SIZE"))
    return Device(False, pages * size, fast)


def _image_size(side):
    """Side of the images and of a patch, for a shorter side in pixels."""
    return next(row[1:] for row in IMAGE_SIZES if side <= row[0])


def _power_of_two(number):
    return 2 ** int(math.log2(number)) if number >= 1 else 1
