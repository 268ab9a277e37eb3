"""Memory that is kept between steps, in processes of their own."""

import platform
import subprocess
import sys
import threading

import keras
import pytest

from keras_clmae.trainers import keep_freed_memory
from tests.lean import lean_environment

# A step with a buffer of 38 MB, and the pages that it takes anew: glibc keeps
# smaller ones than 32 MB by itself.
PROGRAM = """
import resource
import sys

# The package is imported as the command does it: no Keras and no pyarrow yet.
sys.argv[0] = "keras-clmae"
from keras_clmae.freed_memory import keep_freed_memory

if sys.argv[1] == "kept":
    assert keep_freed_memory()
    import keras_clmae

    assert keras_clmae.trainers  # Loads Keras, and whatever that imports.

import jax
import jax.numpy as jnp


@jax.jit
def step(x):
    return jnp.abs(x) @ x.T


def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


x = jnp.ones((9, 2**20))
counts = []
for _ in range(61):
    before = faults()
    step(x).block_until_ready()
    counts.append(faults() - before)
# Small objects take the edges of freed buffers, so the first steps, twenty on a
# loaded machine, and a few later ones need a new buffer.
print(sorted(counts)[len(counts) // 2])
"""


@pytest.mark.skipif(
    keras.backend.backend() != "jax" or platform.libc_ver()[0] != "glibc",
    reason="is for JAX with glibc",
)
def test_steps_take_no_memory_anew():
    def new_pages(argument):
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, argument],
            capture_output=True,
            text=True,
            check=True,
            env=lean_environment(KERAS_BACKEND="jax", JAX_PLATFORMS="cpu"),
        )
        return int(done.stdout)

    assert new_pages("kept") < 100 < 5_000 < new_pages("given back")


@pytest.mark.skipif(
    keras.backend.backend() != "jax" or platform.libc_ver()[0] != "glibc",
    reason="is for JAX with glibc",
)
def test_other_threads_make_it_too_late(monkeypatch):
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    try:
        assert not keep_freed_memory()
    finally:
        stop.set()
        thread.join()


@pytest.mark.skipif(
    keras.backend.backend() == "jax", reason="there it sets something"
)
def test_other_backends_are_left_alone():
    assert not keep_freed_memory()
