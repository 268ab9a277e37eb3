"""Measure the cost of `OnlineKNN` beside the training that it watches."""

import statistics
import time

import keras
import numpy as np
from rich.console import Console
from rich.table import Table

import keras_clmae

_CLASSES = {
    "clmae": keras_clmae.models.CLMAE,
    "mae": keras_clmae.models.MaskedAutoencoder,
}


def knn(
    preset: str = "tiny_patch4_32",
    methods: tuple[str, ...] = ("clmae", "mae"),
    batch_size: int = 64,
    steps: int = 6,
    bank: int = 5000,
    queries: int = 2000,
    images: int = 50_000,
) -> None:
    """Times one measurement of `OnlineKNN` and, before and after it, steps.

    On random images, on the backend of KERAS_BACKEND. An epoch is reckoned
    from the median of the steps: what reading images takes is not counted.

    Args:
        preset: Size, without its prefix.
        methods: clmae, mae, or both.
        batch_size: Images in a step.
        steps: Steps that are timed before and after the measurement.
        bank: Images among which neighbors are looked for.
        queries: Images that are classified.
        images: Images in an epoch.
    """
    table = Table(
        "method",
        "epoch, s",
        "k-NN, s",
        "of it the search, s",
        "share of the epoch",
    )
    for method in methods:
        epoch, total, search = _measure(
            method, preset, batch_size, steps, bank, queries, images
        )
        table.add_row(
            method,
            f"{epoch:.0f}",
            f"{total:.1f}",
            f"{search:.2f}",
            f"{total / epoch:.1%}",
        )
    console = Console()
    console.print(table)
    console.print(
        f"{preset} on {keras.backend.backend()}; an epoch of {images:,} images "
        f"from {2 * steps} steps of {batch_size}; {bank:,} + {queries:,} "
        "images for k-NN, after a first measurement that compiles."
    )


def _measure(method, preset, batch_size, steps, bank, queries, images):
    """Measures seconds of an epoch, of a measurement, and of its search."""
    model_class = _CLASSES[method]
    model = model_class.from_preset(
        model_class.preset_prefix + preset, load_weights=False
    )
    optimizer = keras_clmae.optimizers.AdamW(1e-4)
    if method == "clmae":
        model.compile(optimizer, curriculum=keras_clmae.LinearCurriculum(100))
    else:
        model.compile(optimizer)
    rng = np.random.default_rng(0)

    def draw(number):
        shape = (number, *model.encoder.image_shape)
        images = rng.standard_normal(shape, "float32")
        return images, rng.integers(0, 10, number)

    callback = keras_clmae.callbacks.OnlineKNN(draw(256), draw(256))
    callback.set_model(model)
    callback.on_epoch_end(0, {})
    callback.train_data, callback.test_data = draw(bank), draw(queries)
    batch, _ = draw(batch_size)
    model.train_on_batch(batch)
    times = _step_times(model, batch, steps)
    callback.on_epoch_end(0, {})
    times += _step_times(model, batch, steps)
    epoch = statistics.median(times) * images / batch_size
    features = [
        rng.standard_normal((number, model.encoder.hidden_dim), "float32")
        for number in (bank, queries)
    ]
    start = time.perf_counter()
    keras_clmae.evaluation.knn_accuracy(
        features[0],
        callback.train_data[1],
        features[1],
        callback.test_data[1],
    )
    return epoch, callback.seconds[-1], time.perf_counter() - start


def _step_times(model, batch, steps):
    times = []
    for _ in range(steps):
        start = time.perf_counter()
        model.train_on_batch(batch)
        times.append(time.perf_counter() - start)
    return times
