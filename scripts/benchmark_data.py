"""Measure the speed of reading images, beside a pipeline made of Pillow."""

import itertools
import statistics
import time

import keras
import numpy as np
import tensorflow as tf
from PIL import Image
from rich.console import Console
from rich.table import Table

import keras_clmae
from keras_clmae.data import image_folder
from keras_clmae.data.decoding import ImageDecoder


def data(
    path: str,
    image_size: int = 224,
    rounds: int = 5,
    preset: str = "clmae_tiny_patch16_224",
    batch_size: int = 16,
    steps: int = 4,
) -> None:
    """Measures decode + crop + flip per core, and its share of a step.

    Images per core are images per second of processor time, over all threads,
    so that other programs on the machine disturb little. Both pipelines read
    the same files, in turn: once to pixels, once to standardized batches.

    Args:
        path: Folder of photographs.
        image_size: Side of the crops in pixels.
        rounds: Passes over the folder with each pipeline.
        preset: Model whose training step is compared.
        batch_size: Images in a training step.
        steps: Training steps that are timed.
    """
    dataset = image_folder(path, image_size, batch_size=50, channels=3)
    files = dataset.file_paths
    windows = _draw_windows(files, np.random.default_rng(0))
    pixels = _pixels(dataset, files)
    images = dataset.steps_per_epoch * 50
    # Name: images of a pass, and the pass with each of the two pipelines.
    passes = {
        "decode + crop + flip": (
            (len(files), lambda: _read_all(pixels)),
            lambda: _read_with_pillow(windows, image_size),
        ),
        "standardized batches": (
            (images, lambda: _read_all(dataset)),
            lambda: _batches_with_pillow(windows, image_size, dataset),
        ),
    }
    table = Table("images/s per core", "keras_clmae", "Pillow", "ratio")
    for name, ((count, ours), pillow) in passes.items():
        ours()
        seconds = [
            (
                _processor_time(ours) / count,
                _processor_time(pillow) / len(files),
            )
            for _ in range(rounds)
        ]
        mine, theirs = (
            statistics.median(s) for s in zip(*seconds, strict=True)
        )
        ratio = statistics.median(b / a for a, b in seconds)
        table.add_row(
            name, f"{1 / mine:.0f}", f"{1 / theirs:.0f}", f"{ratio:.2f} times"
        )
    step = _step_time(path, image_size, preset, batch_size, steps)
    console = Console()
    console.print(table)
    console.print(
        f"A training step of {preset}, {batch_size} images, on "
        f"{keras.backend.backend()}: {step:.2f} s of processor time. "
        f"Its images take {batch_size * mine:.3f} s, "
        f"{100 * batch_size * mine / (step + batch_size * mine):.1f}% of both."
    )


def _pixels(dataset, files):
    """Makes a pipeline of images alone: no labels, statistics or batches."""
    transform, decoder = dataset.transform, ImageDecoder(3, convert=True)

    @tf.autograph.experimental.do_not_convert
    def load(number, path):
        contents = tf.io.read_file(path)
        seed = tf.stack([number, number])
        return transform.example(contents, decoder, seed)

    paths = tf.data.Dataset.from_tensor_slices(list(files))
    return paths.enumerate().map(load, num_parallel_calls=tf.data.AUTOTUNE)


def _processor_time(function):
    start = time.process_time()
    function()
    return time.process_time() - start


def _read_all(dataset):
    for _ in dataset:
        pass


def _draw_windows(files, rng):
    """Draws the window of a random resized crop for each file."""
    windows = []
    for file in files:
        with Image.open(file) as image:
            width, height = image.size
        while True:
            area = rng.uniform(0.2, 1) * width * height
            ratio = np.exp(rng.uniform(np.log(3 / 4), np.log(4 / 3)))
            w, h = round(np.sqrt(area * ratio)), round(np.sqrt(area / ratio))
            if w <= width and h <= height:
                break
        left, top = rng.integers(width - w + 1), rng.integers(height - h + 1)
        box = (left, top, left + w, top + h)
        windows.append((file, box, rng.uniform() < 0.5))
    return windows


def _read_with_pillow(windows, image_size):
    images = []
    for file, box, flip in windows:
        with Image.open(file) as image:
            image = image.convert("RGB").crop(box)
        image = image.resize((image_size, image_size), Image.BICUBIC)
        if flip:
            image = image.transpose(Image.FLIP_LEFT_RIGHT)
        images.append(np.asarray(image))
    return images


def _batches_with_pillow(windows, image_size, dataset):
    for start in range(0, len(windows), 50):
        images = _read_with_pillow(windows[start : start + 50], image_size)
        dataset.normalization(np.stack(images))


def _step_time(path, image_size, preset, batch_size, steps):
    """Measures the processor time of a training step."""
    model = keras_clmae.models.CLMAE.from_preset(preset, load_weights=False)
    model.compile(
        keras_clmae.optimizers.AdamW(1e-4),
        curriculum=keras_clmae.LinearCurriculum(steps),
    )
    dataset = image_folder(path, image_size, batch_size, channels=3)
    images = np.asarray(next(itertools.islice(dataset, 1)))
    model.train_on_batch(images)

    def train():
        for _ in range(steps):
            model.train_on_batch(images)

    return _processor_time(train) / steps
