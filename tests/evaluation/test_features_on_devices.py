"""Features on two devices, in a process of its own: JAX on virtual CPUs."""

import subprocess
import sys

import keras
import pytest

from tests.lean import lean_environment

PROGRAM = """
import keras, numpy as np
from keras_clmae.evaluation import extract_features
from keras_clmae.models import ViTEncoder

images = np.random.default_rng(0).normal(size=(10, 8, 8, 1)).astype("float32")
keras.utils.set_random_seed(0)
alone, _ = extract_features(
    ViTEncoder((8, 8, 1), 4, 16, 1, 2), images, batch_size=4, verbose=0
)
keras.distribution.set_distribution(keras.distribution.DataParallel())
keras.utils.set_random_seed(0)
encoder = ViTEncoder((8, 8, 1), 4, 16, 1, 2)
assert len(encoder.weights[0].value.sharding.device_set) == 2
# The last batch, of two images, is padded to equal shares.
together, _ = extract_features(encoder, images, batch_size=4, verbose=0)
np.testing.assert_allclose(alone, together, rtol=1e-5, atol=1e-6)
"""


@pytest.mark.skipif(
    keras.backend.backend() != "jax", reason="virtual devices are JAX's"
)
def test_two_devices_agree_with_one():
    environment = lean_environment(
        KERAS_BACKEND="jax", JAX_PLATFORMS="cpu", JAX_NUM_CPU_DEVICES="2"
    )
    subprocess.run([sys.executable, "-c", PROGRAM], check=True, env=environment)
