"""Counted work against the published code's."""

import keras
import numpy as np
import pytest

from keras_clmae.models import CLMAE
from keras_clmae.models import MaskedAutoencoder
from keras_clmae.models import MaskingModule
from keras_clmae.objectives import PatchErrorObjective

# GFLOP per image, forward and backward of both phases, that
# torch.utils.flop_counter counts for the published code at these sizes. It
# counts matrix products and nothing else.
PUBLISHED = {
    "clmae_tiny_patch4_32": ((32, 32, 3), 3.84),
    "clmae_small_patch16_224": ((96, 96, 3), 8.51),
    "clmae_base_patch16_224": ((224, 224, 3), 210.42),
}
BATCH_SIZE = 2


def model_and_images(preset):
    image_shape, published = PUBLISHED[preset]
    model = CLMAE.from_preset(
        preset, load_weights=False, image_shape=image_shape
    )
    model.compile("adamw", curriculum=1.0)
    draw = np.random.default_rng(0)
    images = draw.normal(size=(BATCH_SIZE, *image_shape)).astype("float32")
    return model, images, published * 1e9 * BATCH_SIZE


def count(model, images):
    """Matrix products of one training step, in floating-point operations."""
    if keras.backend.backend() == "torch":
        from torch.nn.attention import SDPBackend
        from torch.nn.attention import sdpa_kernel
        from torch.utils.flop_counter import FlopCounterMode

        # The counter does not see inside the fused attention kernel of the CPU.
        with (
            sdpa_kernel(SDPBackend.MATH),
            FlopCounterMode(display=False) as counter,
        ):
            model.train_on_batch(images)
        return counter.get_total_flops()
    return matrix_products(traced(model, images).jaxpr)


def traced(model, images):
    import jax

    groups = (
        model.trainable_variables,
        model.non_trainable_variables,
        model.optimizer.variables,
        model.metrics_variables,
    )
    state = tuple([variable.value for variable in group] for group in groups)
    return jax.jit(model.train_step).trace(state, images)


@pytest.mark.skipif(
    keras.backend.backend() != "torch",
    reason="TensorFlow counts nothing; JAX counts the largest below",
)
@pytest.mark.parametrize("preset", [*PUBLISHED][:2])
def test_matrix_products(preset):
    model, images, published = model_and_images(preset)
    assert count(model, images) < 0.95 * published


# At most so many times the work of plain MAE with ViT-B/16: arguments of
# `compile`, objective, arguments of the masking module.
RATIOS = {
    "published": (3.55, {}, None, {}),
    "half of the masks random": (2.3, {"random_mask_share": 0.5}, None, {}),
    "predicted, five full blocks": (
        1.8,
        {},
        PatchErrorObjective,
        {"head": "per_token", "activation": "linear"},
    ),
    "predicted, one thin block": (
        1.1,
        {},
        PatchErrorObjective,
        {
            "head": "per_token",
            "activation": "linear",
            "num_layers": 1,
            "width": 192,
            "num_heads": 3,
        },
    ),
}


@pytest.mark.skipif(
    keras.backend.backend() != "jax", reason="counted without computing"
)
def test_times_the_work_of_mae():
    autoencoder = MaskedAutoencoder.from_preset(
        "mae_base_patch16_224", load_weights=False
    )
    autoencoder.compile(keras.optimizers.SGD())
    autoencoder.optimizer.build(autoencoder.trainable_variables)
    images = np.zeros((BATCH_SIZE, 224, 224, 3), "float32")
    mae = count(autoencoder, images)
    for name, (ratio, arguments, objective, masking_module) in RATIOS.items():
        model = CLMAE(
            autoencoder,
            MaskingModule(**masking_module, name="masking_module"),
            objective=None if objective is None else objective(),
        )
        model.compile(keras.optimizers.SGD(), curriculum=1.0, **arguments)
        step = traced(model, images)
        counted = matrix_products(step.jaxpr)
        if name == "published":
            _, published = PUBLISHED["clmae_base_patch16_224"]
            published *= 1e9 * BATCH_SIZE
            # The objective embeds the images by itself: 0.1 % of the work.
            assert counted < 0.96 * published
            # XLA's own count has all that is not a matrix product besides:
            # softmax, normalizations, activations, optimizers.
            assert step.lower().cost_analysis()["flops"] < published
        assert 0.9 * ratio < counted / mae < ratio, name


def matrix_products(jaxpr):
    """Floating-point operations of the matrix products in a jaxpr."""
    total = 0
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            left = equation.invars[0].aval.shape
            terms = np.prod([left[axis] for axis in contracted])
            total += 2 * terms * np.prod(equation.outvars[0].aval.shape)
        for inner in _inner_jaxprs(equation):
            total += matrix_products(inner)
    return total


def _inner_jaxprs(equation):
    from jax.extend.core import ClosedJaxpr
    from jax.extend.core import Jaxpr

    for value in equation.params.values():
        for part in value if isinstance(value, (tuple, list)) else (value,):
            if isinstance(part, ClosedJaxpr):
                yield part.jaxpr
            elif isinstance(part, Jaxpr):
                yield part
