"""The mark of tests whose subject does not depend on the backend."""

import keras
import pytest

# PyTorch: nothing has to be compiled there.
ONCE = pytest.mark.skipif(
    keras.backend.backend() != "torch", reason="the same on every backend"
)
