"""One process of a training on one or several devices.

    python worker.py OUTPUT.npz '{"setup": {}, "plan": {}, "methods": ["mae"]}'

Writes the log after each of ten steps, the validation and the weights, and
beside it, as OUTPUT.npz.keras, the model of the method "clmae". With a folder
of "checkpoints" it trains once more, and ends as SIGTERM says.
"""

import json
import sys

import keras
import numpy as np

import keras_clmae
from keras_clmae.data import ArrayDataset
from tests.distribution.stopping import train_until_stopped
from tests.tiny_models import predicting_clmae
from tests.tiny_models import tiny_autoencoder
from tests.tiny_models import tiny_clmae
from tests.tiny_models import tiny_images

BATCH_SIZE = 8
STEPS = 10


class Log(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.rows = []

    def on_train_batch_end(self, batch, logs=None):
        self.rows.append({name: float(value) for name, value in logs.items()})


def make(method):
    # Epsilon: the gradient of the keys' biases is zero but for rounding, which
    # Adam would otherwise blow up. Clipped: the size of a gradient matters.
    optimizer = keras_clmae.optimizers.AdamW(
        1e-3, weight_decay=0.05, beta_2=0.95, epsilon=1e-5, global_clipnorm=0.1
    )
    sizes = {"hidden_dim": 16, "decoder_hidden_dim": 16, "seed": 0}
    if method == "mae":
        model = tiny_autoencoder(**sizes)
        model.compile(optimizer)
        return model
    if method == "classifier":
        return make_classifier(sizes)
    model = (predicting_clmae if method == "predicted" else tiny_clmae)(**sizes)
    model.compile(
        optimizer,
        curriculum=keras_clmae.LinearCurriculum(2 * STEPS),
        update="simultaneous" if method == "simultaneous" else "alternating",
        random_mask_share=0.5 if method == "predicted" else 0,
    )
    return model


def make_classifier(sizes):
    encoder = tiny_autoencoder(**sizes).encoder
    model = keras_clmae.models.ImageClassifier(encoder, num_classes=2)
    model.compile(
        keras_clmae.optimizers.LayerDecayAdamW(1e-3, layer_decay=0.5),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    return model


def watch_images(model, seen):
    """Records which images each replica gets, by the sum of each.

    On JAX the places of a batch that each device holds.
    """
    loss_of = model.autoencoder_loss

    def watched(images, *args):
        backend = keras.backend.backend()
        if backend == "torch":
            seen.append(images.sum(dim=(1, 2, 3)).numpy())
        elif backend == "tensorflow":
            import tensorflow as tf

            tf.numpy_function(
                seen.append, [tf.reduce_sum(images, axis=(1, 2, 3))], []
            )
        else:
            import jax

            def record(sharding):
                places = sharding.devices_indices_map(images.shape).values()
                seen.append(
                    [
                        range(BATCH_SIZE)[place[0]]
                        for place in sorted(
                            places, key=lambda place: place[0].start or 0
                        )
                    ]
                )

            jax.debug.inspect_array_sharding(images, callback=record)
        return loss_of(images, *args)

    model.autoencoder_loss = watched


def check_sharding(plan, model):
    """On JAX: variables and their optimizer state lie where they should."""
    if keras.backend.backend() != "jax" or plan.strategy == "none":
        return
    variables = {v.path: v for v in model.trainable_variables}
    for path, variable in variables.items():
        split = path.endswith(
            (
                "attention/qkv_kernel",
                "attention/qkv_bias",
                "attention/projection/kernel",
                "mlp_expand/kernel",
                "mlp_expand/bias",
                "mlp_contract/kernel",
                "score_head/kernel",
                "score_head/bias",
            )
        )
        parts = plan.model_devices if split else 1
        assert len(variable.value.sharding.device_set) == plan.num_devices
        shard = variable.value.addressable_shards[0].data
        assert shard.size * parts == variable.value.size, path
    owned = 0
    for moment in model.optimizer.variables:
        for path, owner in variables.items():
            if moment.path.endswith(
                tuple(
                    f"/{path.replace('/', '_')}_{name}"
                    for name in ("momentum", "velocity")
                )
            ):
                owned += 1
                assert moment.value.sharding.is_equivalent_to(
                    owner.value.sharding, len(owner.shape)
                ), moment.path
    assert owned == 2 * len(variables), [
        v.path for v in model.optimizer.variables
    ]


def train(output, plan, methods):
    """Trains each method and writes what came of it."""
    results = {}
    for method in methods:
        # Some trainings draw more than others.
        keras.utils.set_random_seed(0)
        model = make(method)
        if plan.process_index == 1 and keras.backend.backend() == "torch":
            # The first process's weights count.
            for variable in model.variables:
                variable.assign(variable + 1)
        log, seen = Log(), []
        if method == "clmae":
            watch_images(model, seen)
        local = plan.local_batch_size(BATCH_SIZE)
        count = BATCH_SIZE * STEPS
        labels = np.arange(count) % 2 if method == "classifier" else None
        history = model.fit(
            # For a loss of its own Keras looks at the data under a strategy of
            # TensorFlow before it trains, which begins another epoch.
            ArrayDataset(
                tiny_images(count),
                labels,
                batch_size=local,
                shuffle=method != "classifier",
            ),
            # Validation is the same whatever the update is.
            validation_data=ArrayDataset(
                tiny_images(16, seed=1), batch_size=local, shuffle=False
            )
            if method in ("clmae", "mae")
            else None,
            shuffle=False,
            callbacks=[log],
            verbose=0,
        )
        check_sharding(plan, model)
        if seen:
            results["seen"] = seen
        for name in log.rows[0]:
            results[f"{method}/log/{name}"] = [row[name] for row in log.rows]
        for name, values in history.history.items():
            results[f"{method}/history/{name}"] = values
        with keras_clmae.distribution.readable_weights(model):
            for index, variable in enumerate(model.variables):
                results[f"{method}/weights/{index}"] = to_numpy(variable)
            # With TensorFlow and PyTorch one process saves by itself.
            if method == "clmae" and (
                plan.is_over_jax_processes or plan.process_index == 0
            ):
                model.save(f"{output}.keras")
    np.savez(output, **results)


def main():
    output, arguments = sys.argv[1], json.loads(sys.argv[2])
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        # As in tests/conftest.py.
        tf.config.optimizer.set_experimental_options(
            {"disable_meta_optimizer": True}
        )
    plan = keras_clmae.distribution.setup(**arguments["setup"])
    expected = arguments["plan"]
    assert {name: getattr(plan, name) for name in expected} == expected, plan
    train(output, plan, arguments["methods"])
    if arguments["checkpoints"]:
        train_until_stopped(arguments["checkpoints"], plan)


def to_numpy(variable):
    return keras.ops.convert_to_numpy(variable)


if __name__ == "__main__":
    main()
