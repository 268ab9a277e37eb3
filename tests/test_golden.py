"""Parity with the published code.

`golden/tiny.npz` and `tiny.pth` hold weights, inputs and what the published
CL-MAE code (PyTorch) computed from them.
"""

import os

import keras
import numpy as np
import pytest
from keras import ops

from keras_clmae.conversion import load_torch_checkpoint
from keras_clmae.conversion import save_torch_checkpoint
from keras_clmae.conversion.sizes import sizes_of
from keras_clmae.conversion.torch_checkpoint import published_table
from keras_clmae.conversion.weight_map import export
from keras_clmae.conversion.weight_map import variables_of
from keras_clmae.layers import keep_top_tokens
from tests.tiny_models import QUICK
from tests.tiny_models import assert_same_bits
from tests.tiny_models import to_numpy

FOLDER = os.path.join(os.path.dirname(__file__), "golden")
GOLDEN = np.load(os.path.join(FOLDER, "tiny.npz"))
CHECKPOINT = os.path.join(FOLDER, "tiny.pth")
# The published kl is 0.1 times a sum over the batch of six.
KL_WEIGHT = 0.1 * 6


def load(path):
    return load_torch_checkpoint(
        path, num_heads=4, decoder_num_heads=4, kl_loss_weight=KL_WEIGHT
    )


@pytest.fixture
def model():
    return load(CHECKPOINT)


def test_saved_and_loaded_it_is_the_same(model, tmp_path):
    path = str(tmp_path / "again.pth")
    save_torch_checkpoint(model, path)
    again = load(path)
    assert len(model.weights) > 100
    assert_same_bits(to_numpy(again.weights), to_numpy(model.weights))


def assert_near(actual, expected, tolerance):
    """Largest difference, relative to the largest expected number."""
    actual = np.asarray(ops.convert_to_numpy(actual))
    expected = np.asarray(expected)
    assert actual.shape == expected.shape
    scale = np.abs(expected).max()
    assert np.abs(actual - expected).max() <= tolerance * scale


def entries_of(model):
    """Entries by their name in the published state dict."""
    table = published_table(sizes_of(model))
    return {name: entry for entry in table for name in entry.theirs}


def test_forward(model):
    images = GOLDEN["images_nhwc"]
    autoencoder = model.autoencoder
    scores = model.keep_scores(images)
    assert_near(scores, GOLDEN["mask_scores"], 1e-5)
    selection = keep_top_tokens(scores, autoencoder.num_visible)
    assert_near(selection.mask, GOLDEN["mae_mask"], 0)
    assert_near(selection.restore_indices, GOLDEN["mae_ids_restore"], 0)
    tokens = model.encoder.embed(images)
    visible = ops.take_along_axis(
        tokens, ops.expand_dims(selection.keep_indices, -1), axis=1
    )
    latent = model.encoder.encode(visible)
    assert_near(latent, GOLDEN["mae_latent"], 1e-5)
    prediction = autoencoder.decoder(latent, selection.restore_indices)
    assert_near(prediction, GOLDEN["mae_prediction"], 1e-5)
    # What training computes: the removed patches only.
    removed = autoencoder.predict_removed(tokens, selection)
    expected = np.take_along_axis(
        GOLDEN["mae_prediction"],
        ops.convert_to_numpy(selection.removed_indices)[..., None],
        axis=1,
    )
    assert_near(removed, expected, 1e-5)


def test_losses(model):
    images = GOLDEN["images_nhwc"]
    loss, _ = model.autoencoder_loss(images)
    assert_near(loss, GOLDEN["mae_loss"], 1e-5)
    total, logs = model.masking_loss(images, float(GOLDEN["masker_factor"]))
    weights = {"kl": KL_WEIGHT, "diversity": 2.0}
    expected_total = float(
        GOLDEN["masker_factor"] * GOLDEN["masker_reconstruction"]
    )
    assert_near(
        logs["masking_reconstruction_loss"],
        GOLDEN["masker_reconstruction"],
        1e-5,
    )
    for term in ("gaussian", "kl", "diversity"):
        weighted = weights.get(term, 1.0) * logs[f"{term}_loss"]
        assert_near(weighted, GOLDEN[f"masker_{term}"], 1e-5)
        expected_total += float(GOLDEN[f"masker_{term}"])
    assert_near(total, expected_total, 1e-5)


class GradientCatcher(keras.optimizers.SGD):
    """An optimizer whose momentum variables keep the gradients."""

    def __init__(self, **arguments):
        super().__init__(learning_rate=0.0, momentum=0.9, **arguments)

    def update_step(self, gradient, variable, learning_rate):
        index = self._get_variable_index(variable)
        self.assign(self.momentums[index], gradient)

    def _backend_update_step(self, grads, trainable_variables, learning_rate):
        for gradient, variable in zip(grads, trainable_variables, strict=True):
            self.update_step(gradient, variable, learning_rate)


def test_every_gradient_of_both_phases(model):
    autoencoder, masking = GradientCatcher(), GradientCatcher()
    # The five steps below are compiled.
    model.compile(
        autoencoder, masking, curriculum=float(GOLDEN["masker_factor"]), **QUICK
    )
    model.train_on_batch(GOLDEN["images_nhwc"])
    caught = {}
    for player, optimizer in (
        (model.autoencoder_variables, autoencoder),
        (model.masking_variables, masking),
    ):
        for variable, gradient in zip(player, optimizer.momentums, strict=True):
            caught[id(variable)] = ops.convert_to_numpy(gradient)
    checked = 0
    for name, entry in entries_of(model).items():
        for kind in ("grad_mae", "grad_masker"):
            if f"{kind}/{name}" not in GOLDEN or "pos_embed" in name:
                continue
            gradients = [caught[id(v)] for v in variables_of(entry, model)]
            expected = GOLDEN[f"{kind}/{name}"]
            (actual,) = entry.to_theirs(*gradients)
            # A key's bias moves no attention weight: its gradient is noise.
            scale = max(np.abs(expected).max(), 1e-4)
            assert np.abs(actual - expected).max() <= 1e-4 * scale, name
            checked += 1
    # All but the masking module's fixed position row.
    expected_number = sum(key.startswith("grad_") for key in GOLDEN.files)
    assert checked == expected_number - 1


def test_five_alternating_steps(model):
    factors = [float(factor) for factor in GOLDEN["train_factors"]]

    def curriculum(step):
        table = ops.convert_to_tensor(factors, dtype="float32")
        return ops.take(table, ops.cast(step, "int32"))

    # Keras adds epsilon before the bias correction, PyTorch after it; this is
    # PyTorch's 1e-8 as it acts in the first step, where it matters most.
    epsilon = 1e-8 * (1 - 0.95) ** 0.5
    model.compile(
        keras.optimizers.AdamW(
            float(GOLDEN["learning_rate"]),
            weight_decay=float(GOLDEN["weight_decay"]),
            beta_2=0.95,
            epsilon=epsilon,
        ),
        curriculum=curriculum,
        exclude_from_weight_decay=(),
    )
    for step, factor in enumerate(factors):
        logs = model.train_on_batch(
            GOLDEN[f"train_images_nhwc/{step}"], return_dict=True
        )
        model.reset_metrics()
        assert abs(logs["curriculum_factor"] - factor) < 1e-6
        actual = [
            logs["loss"],
            logs["masking_reconstruction_loss"],
            logs["gaussian_loss"],
            KL_WEIGHT * logs["kl_loss"],
            2.0 * logs["diversity_loss"],
            logs["masking_loss"],
        ]
        np.testing.assert_allclose(
            actual, GOLDEN["train_losses"][step], rtol=1e-3
        )
    arrays, _ = export(published_table(sizes_of(model)), model)
    trained = [key for key in GOLDEN.files if key.startswith("trained/")]
    assert len(trained) == 7
    for key in trained:
        assert_near(arrays[key.removeprefix("trained/")], GOLDEN[key], 1e-3)
