import numpy as np
from keras import ops

from keras_clmae.losses import normalize_patches
from keras_clmae.losses import patch_errors
from keras_clmae.losses import weighted_reconstruction_loss


def test_normalized_patches_use_the_unbiased_variance():
    patches = np.array([[[1.0, 2.0, 3.0, 6.0]]], "float32")
    # Mean 3, squares 4 + 1 + 0 + 9 = 14 over n - 1 = 3.
    expected = (patches - 3) / np.sqrt(14 / 3 + 1e-6)
    normalized = ops.convert_to_numpy(normalize_patches(patches))
    np.testing.assert_allclose(normalized, expected, rtol=1e-6)


def test_flat_patches_stay_finite():
    patches = np.full((1, 2, 4), 0.7, "float32")
    normalized = ops.convert_to_numpy(normalize_patches(patches))
    assert np.isfinite(normalized).all()


def test_patch_errors_are_float32_under_any_dtype():
    predictions = ops.cast(np.array([[[1.0, 3.0]]], "float32"), "bfloat16")
    errors = patch_errors(predictions, np.zeros((1, 1, 2), "float32"))
    assert ops.convert_to_numpy(errors).dtype == np.float32
    np.testing.assert_allclose(ops.convert_to_numpy(errors), [[5.0]])


def test_weighted_loss_is_a_weighted_mean():
    errors = np.array([[1.0, 2.0], [4.0, 8.0]], "float32")
    weights = np.array([[1.0, 0.0], [0.5, 0.5]], "float32")
    # (1 + 2 + 4) / 2
    assert float(weighted_reconstruction_loss(errors, weights)) == 3.5


def test_no_weight_gives_zero():
    zeros = np.zeros((1, 2), "float32")
    assert float(weighted_reconstruction_loss(zeros + 1, zeros)) == 0.0
