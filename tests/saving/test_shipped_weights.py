"""The pretrained models in the package hold what their cards say."""

import collections
import os
import pathlib
import tarfile

import numpy as np
import pytest

from keras_clmae import evaluation
from keras_clmae import runs
from keras_clmae.models import CLMAE
from keras_clmae.models import MaskedAutoencoder
from keras_clmae.models import ViTEncoder
from keras_clmae.runs.normalization import source_normalization
from keras_clmae.saving import pretrained
from keras_clmae.saving import pretrained_names
from keras_clmae.saving.model_cards import read_card
from tests.once import ONCE

NAMES = pretrained_names("vit_")


def features_of(name, images):
    """Features of RGB images from 0 to 1, by the encoder of that name."""
    normalization = source_normalization(name, 3)
    images = (images - normalization.mean) / normalization.std
    encoder = ViTEncoder.from_preset(name)
    features, _ = evaluation.extract_features(
        encoder, images.astype("float32"), verbose=0
    )
    return features


def digits():
    """Scikit-learn's digits, as large as the images of CIFAR-10."""
    datasets = pytest.importorskip("sklearn.datasets")
    scans = datasets.load_digits()
    large = np.kron(scans.images / 16, np.ones((4, 4)))
    return np.repeat(large[..., None], 3, axis=-1), scans.target


@ONCE
def test_cards():
    assert len(NAMES) == 2
    size = 0
    for name in NAMES:
        folder = pretrained.find_pretrained(name)
        card = read_card(folder)
        assert {
            "data",
            "recipe",
            "seed",
            "passes",
            "processor",
            "processor_seconds",
            "scores",
            "license",
            "sha256",
        } <= set(card)
        size += sum(
            path.stat().st_size for path in pathlib.Path(folder).iterdir()
        )
    assert size < 12e6


@ONCE
def test_whole_models_load():
    for model_class in (CLMAE, MaskedAutoencoder):
        (name,) = pretrained_names(model_class.preset_prefix)
        model = model_class.from_preset(name)
        assert model.encoder.grid_size == (8, 8)


@ONCE
@pytest.mark.parametrize("name", NAMES)
def test_neighbors_of_digits(name):
    images, labels = digits()
    features = features_of(name, images)
    scores = evaluation.knn_leave_one_out_scores(features, labels, 20)
    card = read_card(pretrained.find_pretrained(name))
    expected = card["scores"]["digits_knn_leave_one_out"]
    assert scores[20]["accuracy"] == pytest.approx(expected, abs=2e-3)
    assert expected > 0.8  # An untrained encoder of this size: 0.42 to 0.49.


@pytest.mark.parametrize("name", NAMES)
def test_features_are_the_same_on_every_backend(name):
    images, _ = digits()
    features = features_of(name, images[:8])
    np.testing.assert_allclose(features[0, :3], FIRST_FEATURES[name], atol=1e-3)


# Of the first digit: measured on PyTorch.
FIRST_FEATURES = {
    "vit_micro_patch4_32_cifar10_clmae": [-0.05993, -0.17699, 0.38297],
    "vit_micro_patch4_32_cifar10_mae": [0.11614, 1.23177, 0.09685],
}


@pytest.fixture(scope="module")
def cifar10(tmp_path_factory):
    """A folder with the first 2,000 images of each class and the test split."""
    folder = tmp_path_factory.mktemp("cifar10")
    archive = pathlib.Path(
        os.environ["KERAS_CLMAE_TEST_DATA"], "cifar10_images.tar.gz"
    )
    with tarfile.open(archive) as tar:
        groups = collections.defaultdict(list)
        for member in tar:
            if member.name.endswith(".jpg"):
                groups[os.path.dirname(member.name)].append(member)
        for members in groups.values():
            members.sort(key=lambda member: member.name)
            for member in members[:2000]:
                tar.extract(member, folder, filter="data")
    return folder


@ONCE
@pytest.mark.skipif(
    "KERAS_CLMAE_TEST_DATA" not in os.environ,
    reason="minutes; needs cifar10_images.tar.gz in KERAS_CLMAE_TEST_DATA",
)
@pytest.mark.parametrize("name", NAMES)
def test_neighbors_of_cifar10(name, cifar10, tmp_path):
    """As the command does it: the middle of every image is shown."""
    record = runs.knn(
        name, f"folder:{cifar10}", output=str(tmp_path / "o.json"), verbose=0
    )
    card = read_card(pretrained.find_pretrained(name))
    assert record["scores"]["pretrained"]["accuracy"] == pytest.approx(
        card["scores"]["knn"], abs=1e-3
    )
