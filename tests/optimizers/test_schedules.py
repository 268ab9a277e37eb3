"""The warm-up and cosine schedule."""

import pytest

from keras_clmae.optimizers import warmup_cosine


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
