"""One `.keras` file on three backends, each in a process of its own."""

import json
import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest

from keras_clmae.optimizers import AdamW
from tests.once import ONCE
from tests.tiny_models import compiled_clmae
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

path, steps = sys.argv[1], int(sys.argv[2])
model = keras.saving.load_model(path)
outputs = {
    name: keras.ops.convert_to_numpy(value).astype("float64").tolist()
    for name, value in model(tiny_images()).items()
}
outputs["encoder"] = model.encoder.predict(tiny_images(), verbose=0).tolist()
logs = []
for step in range(steps):
    log = model.train_on_batch(tiny_images(6, seed=step), return_dict=True)
    model.reset_metrics()
    logs.append({name: float(value) for name, value in log.items()})
print(json.dumps({"outputs": outputs, "logs": logs}))
"""


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    keras.utils.set_random_seed(0)
    model = compiled_clmae(
        AdamW(1e-2, weight_decay=0.05, epsilon=1e-6),
        model=tiny_clmae(normalize_targets=True, num_layers=2),
        total_steps=STEPS,
    )
    model.train_on_batch(tiny_images())
    path = str(tmp_path_factory.mktemp("model") / "model.keras")
    model.save(path)
    results = {}
    for backend in BACKENDS:
        done = subprocess.run(
            [sys.executable, "-c", RUN, path, str(STEPS)],
            capture_output=True,
            text=True,
            cwd=ROOT,
            env={**os.environ, "KERAS_BACKEND": backend},
        )
        assert done.returncode == 0, done.stderr
        results[backend] = json.loads(done.stdout.splitlines()[-1])
    return results


@pytest.mark.parametrize("other", ["tensorflow", "torch"])
def test_same_file_same_outputs(results, other):
    for name, expected in results["jax"]["outputs"].items():
        np.testing.assert_allclose(
            results[other]["outputs"][name], expected, rtol=1e-5, atol=1e-5
        )


@pytest.mark.parametrize("other", ["tensorflow", "torch"])
def test_same_batches_same_training(results, other):
    assert len(results[other]["logs"]) == STEPS
    for step, expected in enumerate(results["jax"]["logs"]):
        actual = results[other]["logs"][step]
        assert set(actual) == set(expected)
        for name, value in expected.items():
            np.testing.assert_allclose(
                actual[name],
                value,
                rtol=1e-3,
                atol=1e-5,
                err_msg=f"{name} at step {step}",
            )
