"""Counted work against the published code's, by PyTorch's own counter."""

import keras
import numpy as np
import pytest

from keras_clmae.models import CLMAE

torch = pytest.importorskip("torch")

# GFLOP per image, forward and backward of both phases, that
# torch.utils.flop_counter counts for the published code at these sizes.
PUBLISHED = {
    "clmae_tiny_patch4_32": ((32, 32, 3), 3.84),
    "clmae_small_patch16_224": ((96, 96, 3), 8.51),
    "clmae_base_patch16_224": ((224, 224, 3), 210.42),
}


@pytest.mark.skipif(
    keras.backend.backend() != "torch", reason="PyTorch's counter"
)
@pytest.mark.parametrize("preset", PUBLISHED)
def test_a_step_needs_less_work_than_the_published_code(preset):
    from torch.nn.attention import SDPBackend
    from torch.nn.attention import sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    image_shape, published = PUBLISHED[preset]
    model = CLMAE.from_preset(
        preset, load_weights=False, image_shape=image_shape
    )
    model.compile("adamw", curriculum=1.0)
    images = np.random.default_rng(0).normal(size=(2, *image_shape))
    # The counter does not see inside the fused attention kernel of the CPU.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as count:
        model.train_on_batch(images.astype("float32"))
    assert count.get_total_flops() / 2 / 1e9 < 0.95 * published
