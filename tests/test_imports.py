"""Imports that the package may make."""

import pathlib
import re
import subprocess
import sys

import keras

from tests.lean import lean_environment
from tests.once import ONCE

ROOT = pathlib.Path(__file__).parents[1]

BLOCK = """
import sys

# Importing any of these now fails.
sys.modules.update(dict.fromkeys({names!r}))
import numpy as np
import keras_clmae
from keras_clmae import callbacks, data, evaluation, optimizers

model = keras_clmae.models.CLMAE.from_preset(
    "clmae_tiny_patch4_32", load_weights=False, num_layers=1,
    decoder_num_layers=1,
)
images = np.zeros((2, 32, 32, 3), "float32")
print(model.encoder(images).shape)
"""


def test_works_with_keras_and_numpy_alone():
    refused = {
        "jax": ("tensorflow", "torch"),
        "torch": ("tensorflow", "jax"),
        "tensorflow": ("torch", "jax"),
    }[keras.backend.backend()]
    optional = ("sklearn", "matplotlib", "tensorboardX", "keras_cv")
    code = BLOCK.format(names=refused + optional)
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=lean_environment(KERAS_BACKEND=keras.backend.backend()),
    )
    assert done.returncode == 0, done.stderr
    assert "65, 192" in done.stdout


@ONCE
def test_backends_are_imported_by_their_trainers_only():
    # Reading .pth files and tf.data pipelines need theirs on any backend, and
    # so do the kernels that a backend has for layers and optimizers.
    pattern = re.compile(r"^\s*(?:import|from) (jax|torch|tensorflow)\b", re.M)
    allowed = {
        "conversion",
        "data",
        "distribution",
        "kernels",
        "optimizers",
        "saving",
        "trainers",
    }
    package = ROOT / "keras_clmae"
    found = {
        path.relative_to(package).parts[0]
        for path in package.rglob("*.py")
        if pattern.search(path.read_text(encoding="utf-8"))
    }
    assert found <= allowed


@ONCE
def test_only_these_ask_which_backend_runs():
    allowed = {
        "conversion",
        "data",
        "distribution/__init__.py",
        "evaluation/records.py",
        "freed_memory.py",
        "kernels/__init__.py",
        "models/exporting.py",
        "optional_imports.py",
        "optimizers/__init__.py",
        "saving/serving.py",
        "trainers",
    }
    package = ROOT / "keras_clmae"
    for path in package.rglob("*.py"):
        name = path.relative_to(package)
        if "backend.backend()" in path.read_text(encoding="utf-8"):
            assert {str(name), name.parts[0]} & allowed, name


@ONCE
def test_unknown_backends_are_refused():
    done = subprocess.run(
        [sys.executable, "-c", "import keras_clmae"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=lean_environment("jax", KERAS_BACKEND="numpy"),
    )
    assert done.returncode != 0
    assert "'jax', 'tensorflow' and 'torch'" in done.stderr
