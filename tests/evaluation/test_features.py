"""Features: the three poolings, order, padding, kinds of data sets."""

import keras
import numpy as np
import pytest

from keras_clmae.evaluation import FeatureExtractor
from keras_clmae.evaluation import extract_features
from keras_clmae.models import ViTEncoder

IMAGES = np.random.default_rng(0).normal(size=(10, 8, 8, 1)).astype("float32")
LABELS = np.arange(10)


@pytest.fixture(scope="module")
def encoder():
    encoder = ViTEncoder((8, 8, 1), 2, 16, 2, 2, drop_path_rate=0.5)
    # A norm that is not the identity, so that before and after differ.
    encoder.norm.gamma.assign(np.linspace(0.5, 2, 16))
    return encoder


class Batches(keras.utils.PyDataset):
    def __len__(self):
        return 3

    def __getitem__(self, index):
        rows = slice(4 * index, 4 * index + 4)
        return IMAGES[rows], LABELS[rows]


def test_poolings_by_hand(encoder):
    tokens = keras.ops.convert_to_numpy(encoder(IMAGES))
    raw = keras.ops.convert_to_numpy(encoder(IMAGES, normalize=False))
    for pooling, expected in (
        ("mean", tokens[:, 1:].mean(axis=1)),
        ("class_token", tokens[:, 0]),
        ("mean_before_norm", raw[:, 1:].mean(axis=1)),
    ):
        got, labels = extract_features(
            encoder, IMAGES, pooling=pooling, batch_size=4, verbose=0
        )
        assert labels is None
        assert got.dtype == "float32"
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "make",
    [
        lambda: (IMAGES, LABELS),
        lambda: [IMAGES, LABELS],
        Batches,
        lambda: (Batches()[i] for i in range(3)),
        lambda: [Batches()[i] for i in (0, 1, 2)],
    ],
    ids=["tuple of arrays", "list of arrays", "PyDataset", "generator", "list"],
)
def test_kinds_of_data_sets(encoder, make):
    expected, _ = extract_features(encoder, IMAGES, verbose=0)
    got, labels = extract_features(encoder, make(), batch_size=4, verbose=0)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(labels, LABELS)


def test_tf_data(encoder):
    tf = pytest.importorskip("tensorflow")
    dataset = tf.data.Dataset.from_tensor_slices((IMAGES, LABELS)).batch(4)
    expected, _ = extract_features(encoder, IMAGES, verbose=0)
    got, labels = extract_features(encoder, dataset, verbose=0)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(labels, LABELS)


def test_an_extractor_follows_the_encoder(encoder):
    encoder = ViTEncoder.from_config(encoder.get_config())
    extractor = FeatureExtractor(encoder)
    before, _ = extractor.extract(IMAGES, verbose=0)
    encoder.norm.beta.assign(np.ones(16))
    after, _ = extractor.extract(IMAGES, verbose=0)
    np.testing.assert_allclose(after, before + 1, rtol=1e-4, atol=1e-5)


def test_a_progress_bar(encoder, capsys):
    extract_features(encoder, IMAGES, batch_size=4, verbose=1)
    assert "3/3" in capsys.readouterr().out


def test_an_extractor_is_saved_with_its_encoder(encoder, tmp_path):
    extractor = FeatureExtractor(encoder, "class_token")
    extractor.save(tmp_path / "extractor.keras")
    restored = keras.saving.load_model(tmp_path / "extractor.keras")
    assert restored.get_config() == extractor.get_config()
    np.testing.assert_allclose(
        restored.predict(IMAGES, verbose=0),
        extractor.predict(IMAGES, verbose=0),
        rtol=1e-5,
        atol=1e-6,
    )


def test_mixed_precision_gives_float32():
    encoder = ViTEncoder((8, 8, 1), 2, 16, 2, 2, dtype="mixed_bfloat16")
    features, _ = extract_features(encoder, IMAGES, verbose=0)
    assert features.dtype == "float32"


def test_errors(encoder):
    with pytest.raises(ValueError, match="`pooling`.*pooling='max'"):
        extract_features(encoder, IMAGES, pooling="max")
    with pytest.raises(ValueError, match="`dataset`.*at least one image"):
        extract_features(encoder, IMAGES[:0], verbose=0)
