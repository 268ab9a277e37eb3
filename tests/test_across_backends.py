"""Run the same `.keras` files on three backends, in a process each."""

import json
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest

from keras_clmae.models import CLMAE
from keras_clmae.models import ImageSegmenter
from keras_clmae.models import MaskedAutoencoder
from keras_clmae.models import ViTEncoder
from keras_clmae.optimizers import AdamW
from keras_clmae.optimizers import LayerDecayAdamW
from tests.lean import lean_environment
from tests.once import ONCE
from tests.tiny_models import FixedMasker
from tests.tiny_models import compiled_clmae
from tests.tiny_models import predicting_clmae
from tests.tiny_models import tiny_clmae
from tests.tiny_models import tiny_images

# All three at once.
pytestmark = ONCE

ROOT = pathlib.Path(__file__).parents[1]
BACKENDS = ("jax", "tensorflow", "torch")
STEPS = 10

RUN = """
import json, sys
import keras, numpy as np
import keras_clmae
from tests.tiny_models import tiny_images

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf

    # To trace the steps takes longer than to run them.
    tf.config.run_functions_eagerly(True)
steps, segmenter, *paths = sys.argv[1:]
results = []
for path in paths:
    model = keras.saving.load_model(path)
    outputs = {
        name: value.tolist()
        for name, value in model.predict(tiny_images(), verbose=0).items()
    }
    outputs["encoder"] = model.encoder.predict(
        tiny_images(), verbose=0
    ).tolist()
    logs = []
    for step in range(int(steps)):
        log = model.train_on_batch(tiny_images(6, seed=step), return_dict=True)
        model.reset_metrics()
        logs.append({name: float(value) for name, value in log.items()})
    results.append({"outputs": outputs, "logs": logs})

segmenter = keras.saving.load_model(segmenter)
images = np.random.default_rng(1).normal(size=(2, 16, 8, 1)).astype("float32")
masks = (images[..., 0] > 0).astype("uint8")
logits = segmenter.predict(images, verbose=0)
logs = [
    segmenter.train_on_batch(images, masks, return_dict=True) for _ in range(3)
]
logs = [{name: float(value) for name, value in each.items()} for each in logs]
segmenter = {"logits": logits.tolist(), "logs": logs}
print(json.dumps({"models": results, "segmenter": segmenter}))
"""


def models():
    """Models to train on every backend, by steps that draw nothing."""
    yield (
        "published, half random",
        _with_fixed_masker(tiny_clmae(normalize_targets=True)),
        {"total_steps": STEPS, "random_mask_share": 0.5},
    )
    predicting = _with_fixed_masker(predicting_clmae())
    # The noise of the selection does not count.
    predicting.objective.sharpness = 1e6
    yield (
        "predicted",
        predicting,
        {"curriculum": -1.0, "random_mask_share": 0.5},
    )


def _with_fixed_masker(model):
    config = model.autoencoder.get_config() | {"seed": None}
    config["masker"] = FixedMasker()
    return CLMAE(
        MaskedAutoencoder.from_config(config),
        model.masking_module,
        objective=model.objective,
    )


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    keras.utils.set_random_seed(0)
    folder, paths = tmp_path_factory.mktemp("models"), []
    for name, model, arguments in models():
        compiled_clmae(
            AdamW(1e-2, weight_decay=0.05, epsilon=1e-6),
            model=model,
            **arguments,
        )
        model.train_on_batch(tiny_images())
        paths.append(str(folder / f"{name}.keras"))
        model.save(paths[-1])
    # Patches of 8 pixels: transposed convolutions and interpolation.
    segmenter = ImageSegmenter(ViTEncoder((16, 8, 1), 8, 16, 1, 2), 2)
    segmenter.compile(LayerDecayAdamW(1e-2))
    paths.insert(0, str(folder / "segmenter.keras"))
    segmenter.save(paths[0])
    results = {}
    for backend in BACKENDS:
        done = subprocess.run(
            [sys.executable, "-c", RUN, str(STEPS), *paths],
            capture_output=True,
            text=True,
            cwd=ROOT,
            env=lean_environment(KERAS_BACKEND=backend),
        )
        assert done.returncode == 0, done.stderr
        results[backend] = json.loads(done.stdout.splitlines()[-1])
    return results


@pytest.mark.parametrize("other", ["tensorflow", "torch"])
def test_same_file_same_outputs(results, other):
    for found, expected in zip(
        results[other]["models"], results["jax"]["models"], strict=True
    ):
        for name, value in expected["outputs"].items():
            np.testing.assert_allclose(
                found["outputs"][name],
                value,
                rtol=1e-5,
                # The sharpness of the predicted scores is that of no training.
                atol=1e-5 * max(1.0, np.abs(value).max()),
                err_msg=name,
            )


@pytest.mark.parametrize("other", ["tensorflow", "torch"])
def test_same_batches_same_training(results, other):
    for found, expected in zip(
        results[other]["models"], results["jax"]["models"], strict=True
    ):
        assert len(found["logs"]) == STEPS
        for step, (actual, log) in enumerate(
            zip(found["logs"], expected["logs"], strict=True)
        ):
            assert set(actual) == set(log)
            for name, value in log.items():
                np.testing.assert_allclose(
                    actual[name],
                    value,
                    rtol=1e-3,
                    atol=1e-5,
                    err_msg=f"{name} at step {step}",
                )


@pytest.mark.parametrize("other", ["tensorflow", "torch"])
def test_a_segmenter_does_the_same(results, other):
    found, expected = (
        results[backend]["segmenter"] for backend in (other, "jax")
    )
    np.testing.assert_allclose(
        found["logits"], expected["logits"], rtol=1e-4, atol=1e-5
    )
    for ours, theirs in zip(found["logs"], expected["logs"], strict=True):
        assert ours == pytest.approx(theirs, rel=1e-3)
