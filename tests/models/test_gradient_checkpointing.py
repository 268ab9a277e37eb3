"""Computing twice instead of keeping: the same numbers in less memory."""

import keras
import numpy as np
import pytest

from tests.once import ONCE
from tests.tiny_models import QUICK
from tests.tiny_models import state_of
from tests.tiny_models import tiny_autoencoder
from tests.tiny_models import tiny_clmae
from tests.tiny_models import tiny_images


def trained(make, checkpointing, **arguments):
    keras.utils.set_random_seed(0)
    model = make(
        num_layers=2,
        drop_path_rate=0.3,
        gradient_checkpointing=checkpointing,
    )
    # Not Adam: it would blow up the rounding of gradients that are zero, those
    # of the keys' biases.
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), **arguments)
    for step in range(3):
        model.train_on_batch(tiny_images(4, seed=step))
    return state_of(model)


@pytest.mark.parametrize(
    ("make", "arguments"),
    [
        (tiny_clmae, {"curriculum": 1.0, "masking_update_period": 2}),
        pytest.param(tiny_autoencoder, {}, marks=ONCE),
    ],
)
def test_same_training(make, arguments):
    expected = trained(make, False, **arguments, **QUICK)
    actual = trained(make, True, **arguments)
    for first, second in zip(expected, actual, strict=True):
        np.testing.assert_allclose(second, first, rtol=1e-4, atol=1e-5)


@ONCE
def test_all_parts_follow_one_argument():
    from keras_clmae.models import CLMAE

    model = CLMAE.from_preset(
        "clmae_tiny_patch4_32",
        load_weights=False,
        num_layers=1,
        decoder_num_layers=1,
        gradient_checkpointing=True,
    )
    for part in (
        model.encoder,
        model.autoencoder.decoder,
        model.masking_module,
    ):
        assert all(block.gradient_checkpointing for block in part.blocks)
    again = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(model)
    )
    assert again.autoencoder.decoder.gradient_checkpointing


def bytes_kept(model, images):
    """Bytes that the forward pass of the masking phase keeps for its gradient.

    Each array counts once, the weights too.
    """
    kept = {}
    if keras.backend.backend() == "torch":
        import torch

        def keep(tensor):
            kept[tensor.data_ptr()] = tensor.nbytes
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
            model.masking_loss(keras.ops.convert_to_tensor(images), 1.0)
        return sum(kept.values())
    import jax

    variables = model.masking_variables

    def loss_of(values):
        with keras.StatelessScope(zip(variables, values, strict=True)):
            return model.masking_loss(images, 1.0)[0]

    def kept(values):
        _, pull_back = jax.vjp(loss_of, values)
        return jax.tree.leaves(pull_back)

    # Traced and not computed: JAX would compile each operation.
    traced = jax.make_jaxpr(kept)([v.value for v in variables])
    outputs = {id(each): each.aval for each in traced.jaxpr.outvars}
    return sum(aval.size * aval.dtype.itemsize for aval in outputs.values())


@pytest.mark.skipif(
    keras.backend.backend() == "tensorflow",
    reason="TensorFlow's tape does not tell what it keeps",
)
def test_less_memory():
    images = tiny_images(64)
    plain, checkpointed = (
        bytes_kept(
            tiny_clmae(
                num_layers=6,
                hidden_dim=32,
                gradient_checkpointing=checkpointing,
            ),
            images,
        )
        for checkpointing in (False, True)
    )
    assert checkpointed < 0.5 * plain
