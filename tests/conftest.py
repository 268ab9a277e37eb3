"""Shared fixtures. `KERAS_BACKEND` chooses the backend of the whole process."""

import os

os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import pytest


@pytest.fixture(autouse=True)
def seed():
    """Every test starts from the same random state."""
    keras.utils.set_random_seed(0)
