"""The warm-up and cosine schedule."""

import pytest

from keras_clmae.optimizers import scale_learning_rate
from keras_clmae.optimizers import warmup_cosine
from tests.once import ONCE


@pytest.mark.parametrize(
    "warmup_steps, expected",
    [
        # After half of the cosine: 0.2 + (1 - 0.2) / 2.
        (10, {0: 0.0, 5: 0.5, 10: 1.0, 20: 0.6, 30: 0.2, 99: 0.2}),
        (0, {0: 1.0, 15: 0.6, 30: 0.2}),
    ],
)
def test_values(warmup_steps, expected):
    schedule = warmup_cosine(1.0, 30, warmup_steps, final=0.2)
    got = {step: float(schedule(step)) for step in expected}
    assert got == pytest.approx(expected, abs=1e-6)


def test_errors():
    with pytest.raises(ValueError, match="`warmup_steps`.*warmup_steps=30"):
        warmup_cosine(1.0, total_steps=30, warmup_steps=30)


@pytest.mark.parametrize("warmup_steps", [0, 4])
def test_a_rate_of_zero(warmup_steps):
    schedule = warmup_cosine(0.0, 10, warmup_steps)
    assert [float(schedule(step)) for step in (0, 3, 10)] == [0.0, 0.0, 0.0]
    with pytest.raises(ValueError, match="`final` must be 0.*final=0.1"):
        warmup_cosine(0.0, 10, warmup_steps, final=0.1)


@pytest.mark.parametrize(
    "arguments", [{"final": -1.0}, {"learning_rate": -1.0}]
)
def test_negative_rates(arguments):
    (name,) = arguments
    with pytest.raises(ValueError, match=f"`{name}` must not.*{name}=-1.0"):
        warmup_cosine(**{"learning_rate": 1.0, "total_steps": 3, **arguments})


@ONCE
def test_learning_rate_follows_the_batch():
    assert scale_learning_rate(1e-3, 1024) == pytest.approx(4e-3)
