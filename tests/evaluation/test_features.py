"""Features: the three poolings, order, padding, kinds of data sets."""

import gc
import os
import pathlib

import keras
import numpy as np
import pytest

from keras_clmae.evaluation import FeatureExtractor
from keras_clmae.evaluation import extract_features
from keras_clmae.evaluation.prediction import predict_dataset
from keras_clmae.kernels import bfloat16
from keras_clmae.models import ViTEncoder
from tests.once import ONCE

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


class Growing(keras.utils.PyDataset):
    """Batches of 3, 5 and 2."""

    def __len__(self):
        return len(GROWING)

    def __getitem__(self, index):
        return GROWING[index]


GROWING = [
    (IMAGES[start:end], LABELS[start:end])
    for start, end in ((0, 3), (3, 8), (8, 10))
]


def as_dict(batch, image_key, label_key):
    return dict(zip((image_key, label_key), batch, strict=True))


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


KINDS = {
    "PyDataset of growing batches": Growing,
    "tuple of arrays": lambda: (IMAGES, LABELS),
    "list of arrays": lambda: [IMAGES, LABELS],
    "PyDataset": Batches,
    "generator": lambda: (Batches()[i] for i in range(3)),
    "list": lambda: [Batches()[i] for i in (0, 1, 2)],
    "generator of growing batches": lambda: (Growing()[i] for i in range(3)),
    "dict of arrays": lambda: {"image": IMAGES, "label": LABELS},
    "list of dicts": lambda: [
        as_dict(Growing()[i], "image", "label") for i in range(3)
    ],
    "generator of dicts": lambda: (
        as_dict(Growing()[i], "pixel_values", "labels") for i in range(3)
    ),
    "dicts with labels": lambda: [
        ({"image": images}, labels) for images, labels in GROWING
    ],
}


@pytest.mark.parametrize(
    "make",
    [
        # The steps of the backend see the same batches of all others.
        pytest.param(make, id=name, marks=[ONCE] if index else [])
        for index, (name, make) in enumerate(KINDS.items())
    ],
)
def test_kinds_of_data_sets(encoder, make):
    expected, _ = extract_features(encoder, IMAGES, verbose=0)
    got, labels = extract_features(encoder, make(), batch_size=4, verbose=0)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(labels, LABELS)


@ONCE
def test_tf_data(encoder):
    tf = pytest.importorskip("tensorflow")
    slices = tf.data.Dataset.from_tensor_slices((IMAGES, LABELS))
    growing = slices.take(3).batch(3).concatenate(slices.skip(3).batch(5))
    expected, _ = extract_features(encoder, IMAGES, verbose=0)
    for dataset in (slices.batch(4), growing):
        got, labels = extract_features(encoder, dataset, verbose=0)
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(labels, LABELS)


@ONCE
@pytest.mark.parametrize("sizes", [(5, 5), (2, 8), (4, 4, 2)])
def test_a_list_of_batches_of_images(encoder, sizes):
    batches = np.split(IMAGES, np.cumsum(sizes)[:-1])
    expected, _ = extract_features(encoder, IMAGES, verbose=0)
    got, labels = extract_features(encoder, batches, verbose=0)
    assert labels is None
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


@ONCE
def test_fewer_batches_than_a_data_set_says(encoder):
    class Short:
        steps_per_epoch = 7

        def __iter__(self):
            return iter(GROWING)

    got, labels = extract_features(encoder, Short(), verbose=0)
    assert len(got) == 10
    np.testing.assert_array_equal(labels, LABELS)


def resident_bytes():
    pages = pathlib.Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(
    not os.path.exists("/proc/self/statm"), reason="reads Linux's /proc"
)
@pytest.mark.parametrize("known", [False, True])
def test_memory_is_flat_over_measurements(known):
    model = keras.Sequential(
        [keras.Input((32, 32, 3)), keras.layers.GlobalAveragePooling2D()]
    )
    images = np.ones((512, 32, 32, 3), "float32")

    def measure():
        data = images if known else iter([images[:256], images[256:]])
        predict_dataset(model, data, batch_size=256, verbose=0)

    measure()
    measure()
    before = resident_bytes()
    for _ in range(30):
        measure()
    gc.collect()
    # A measurement that keeps what it read keeps all images.
    assert resident_bytes() - before < 10 * images.nbytes


def test_an_extractor_follows_the_encoder(encoder):
    encoder = ViTEncoder.from_config(encoder.get_config())
    extractor = FeatureExtractor(encoder)
    before, _ = extractor.extract(IMAGES, verbose=0)
    encoder.norm.beta.assign(np.ones(16))
    after, _ = extractor.extract(IMAGES, verbose=0)
    np.testing.assert_allclose(after, before + 1, rtol=1e-4, atol=1e-5)


@ONCE
def test_a_progress_bar(encoder, capsys):
    extract_features(encoder, IMAGES, batch_size=4, verbose=1)
    assert "3/3" in capsys.readouterr().out


@ONCE
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


@pytest.mark.parametrize("fast", [True, False])
def test_precision_of_features(encoder, monkeypatch, fast):
    monkeypatch.setattr(bfloat16, "bfloat16_is_fast", lambda: fast)
    # As what is not fast says.
    monkeypatch.setattr(bfloat16, "_judge", lambda: (True, ""))
    exact, _ = extract_features(encoder, IMAGES, verbose=0)
    quick, _ = extract_features(encoder, IMAGES, verbose=0, precision="auto")
    assert quick.dtype == "float32"
    error = np.linalg.norm(quick - exact) / np.linalg.norm(exact)
    # bfloat16 has eight bits, so each rounding is off by up to 1 / 256.
    assert (1e-4 < error < 2e-2) if fast else error == 0
    # The encoder that was given stays as it is.
    assert encoder.compute_dtype == "float32"


@ONCE
def test_unknown_precision(encoder):
    with pytest.raises(ValueError, match="`precision` must be one of"):
        extract_features(encoder, IMAGES, verbose=0, precision="float16")


@ONCE
def test_raw_pixels_are_warned_of(encoder):
    for data in (200 * IMAGES, (200 * IMAGES, LABELS)):
        with pytest.warns(UserWarning, match="do not look normalized"):
            extract_features(encoder, data, verbose=0)


@ONCE
def test_errors(encoder):
    with pytest.raises(ValueError, match="`pooling`.*pooling='max'"):
        extract_features(encoder, IMAGES, pooling="max")
    with pytest.raises(ValueError, match="`dataset`.*at least one image"):
        extract_features(encoder, IMAGES[:0], verbose=0)
    with pytest.raises(ValueError, match=r"`dataset`.*\(10, .*\(9,\)"):
        extract_features(encoder, (IMAGES, LABELS[:9]), verbose=0)
    with pytest.raises(ValueError, match=r"`dataset`.*shape \(8, 8, 1\)"):
        extract_features(encoder, list(IMAGES), verbose=0)
    with pytest.raises(ValueError, match="'pixel_values'.*Received: .*'x'"):
        extract_features(encoder, [{"x": IMAGES}], verbose=0)
