"""Long trainings, compiled as users compile them."""

import contextlib

import keras


@contextlib.contextmanager
def as_users_compile():
    """Undoes on JAX what tests/conftest.py sets to compile quickly."""
    if keras.backend.backend() != "jax":
        yield
        return
    import jax

    name = "jax_disable_most_optimizations"
    before = jax.config.read(name)
    jax.config.update(name, False)
    try:
        yield
    finally:
        jax.config.update(name, before)
