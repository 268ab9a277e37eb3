"""k-NN against scikit-learn, literals and its errors."""

import time

import numpy as np
import pytest

from keras_clmae.evaluation import draw_few_shot
from keras_clmae.evaluation import few_shot_accuracy
from keras_clmae.evaluation import knn
from keras_clmae.evaluation import knn_accuracy
from keras_clmae.evaluation import knn_leave_one_out_scores
from keras_clmae.evaluation import knn_scores
from keras_clmae.evaluation import linear_probe_accuracy
from tests.once import ONCE

# NumPy computes it.
pytestmark = ONCE


def clusters(num_images, seed, width=12, num_classes=4):
    centers = np.random.default_rng(7).normal(size=(num_classes, width))
    random = np.random.default_rng(seed)
    labels = random.integers(0, num_classes, num_images)
    noise = random.normal(scale=1.5, size=(num_images, width))
    # A large common offset: what a distance by products must survive.
    return (centers[labels] + noise + 20).astype("float32"), labels


TRAIN = clusters(700, seed=0)
TEST = clusters(300, seed=1)


@pytest.mark.parametrize("k", [1, 5, 20, 200])
def test_clmae_protocol_agrees_with_scikit_learn(k):
    neighbors = pytest.importorskip("sklearn.neighbors")
    reference = neighbors.KNeighborsClassifier(k, algorithm="brute")
    reference.fit(TRAIN[0].astype("float64"), TRAIN[1])
    expected = reference.score(TEST[0].astype("float64"), TEST[1])
    assert 0.4 < expected < 1
    assert knn_accuracy(*TRAIN, *TEST, k=k, protocol="clmae") == expected


@pytest.mark.parametrize("k", [1, 5, 20, 200])
def test_cosine_protocol_agrees_with_scikit_learn(k):
    neighbors = pytest.importorskip("sklearn.neighbors")
    # Weights from the distance, which is 1 - similarity.
    reference = neighbors.KNeighborsClassifier(
        k, metric="cosine", weights=lambda d: np.exp((1 - d) / 0.07)
    )
    centered = [TRAIN[0] - 20, TEST[0] - 20]
    reference.fit(centered[0].astype("float64"), TRAIN[1])
    expected = reference.score(centered[1].astype("float64"), TEST[1])
    got = knn_accuracy(centered[0], TRAIN[1], centered[1], TEST[1], k=k)
    assert got == expected


@pytest.mark.parametrize("protocol", ["cosine_weighted", "clmae"])
def test_leave_one_out_is_a_split_for_each_image(protocol):
    features, labels = (array[:90].copy() for array in TRAIN)
    # Twins, of which each may look for the other only.
    features[3:60] = features[60]
    expected = []
    for own in range(90):
        others = np.arange(90) != own
        expected.append(
            knn_accuracy(
                features[others],
                labels[others],
                features[[own]],
                labels[[own]],
                k=[1, 7],
                protocol=protocol,
            )
        )
    scores = knn_leave_one_out_scores(
        features, labels, k=[1, 7], protocol=protocol
    )
    for k in (1, 7):
        mean = np.mean([accuracies[k] for accuracies in expected])
        assert scores[k]["accuracy"] == pytest.approx(mean)
    with pytest.raises(ValueError, match="(?s)larger than .*89 images"):
        knn_leave_one_out_scores(features, labels, k=90, protocol=protocol)


def test_the_neighbors_themselves_agree_with_scikit_learn():
    neighbors = pytest.importorskip("sklearn.neighbors")
    reference = neighbors.NearestNeighbors(n_neighbors=7).fit(TRAIN[0])
    _, expected = reference.kneighbors(TEST[0])
    hits = (TRAIN[1][expected] == TEST[1][:, None]).any(axis=1).mean()
    scores = knn_scores(*TRAIN, *TEST, k=7, protocol="clmae")
    assert scores[7]["any_correct"] == pytest.approx(hits, abs=1e-12)


def test_weighted_vote_by_hand():
    # Similarities 1, 0.6, 0.6: weights e^(1/t), twice e^(0.6/t). One exact
    # match outvotes two at a low temperature and not at a high one.
    train = np.array([[1.0, 0.0], [0.6, 0.8], [0.6, -0.8]])
    labels = np.array([0, 1, 1])
    test = np.array([[3.0, 0.0]])
    scores = [
        knn_accuracy(train, labels, test, [0], k=3, temperature=temperature)
        for temperature in (0.07, 0.5, 0.6, 1e-4)
    ]
    # Equal weights at t = 0.4 / ln 2 = 0.577.
    assert scores == [1.0, 1.0, 0.0, 1.0]


def test_majority_ties_go_to_the_lowest_label():
    train = np.array([[0.0], [1.0], [5.0], [6.0]])
    labels = np.array([3, 3, 1, 1])
    score = knn_accuracy(train, labels, [[2.0]], [1], k=4, protocol="clmae")
    assert score == 1.0


def test_default_k_is_the_protocols_own():
    for protocol, k in (("cosine_weighted", 20), ("clmae", 5)):
        assert list(knn_scores(*TRAIN, *TEST, protocol=protocol)) == [k]
        assert knn_accuracy(*TRAIN, *TEST, protocol=protocol) == knn_accuracy(
            *TRAIN, *TEST, k=k, protocol=protocol
        )


@pytest.mark.parametrize("protocol", knn.KNN_PROTOCOLS)
def test_several_k_equal_one_at_a_time(protocol):
    together = knn_accuracy(*TRAIN, *TEST, k=[20, 1, 5], protocol=protocol)
    assert list(together) == [20, 1, 5]
    for k, accuracy in together.items():
        alone = knn_accuracy(*TRAIN, *TEST, k=k, protocol=protocol)
        assert isinstance(alone, float)
        assert accuracy == alone


@pytest.mark.parametrize("protocol", knn.KNN_PROTOCOLS)
@pytest.mark.parametrize("budget", [1, 700 * 13, 2**24])
def test_chunks_do_not_change_the_result(monkeypatch, protocol, budget):
    expected = knn_scores(*TRAIN, *TEST, k=[1, 9], protocol=protocol)
    monkeypatch.setattr(knn, "SIMILARITY_BUDGET", budget)
    got = knn_scores(*TRAIN, *TEST, k=[1, 9], protocol=protocol)
    assert got == expected


def test_k_may_be_the_whole_training_set():
    score = knn_accuracy(*TRAIN, *TEST, k=700, protocol="clmae")
    most_common = np.bincount(TRAIN[1]).argmax()
    assert score == np.mean(TEST[1] == most_common)


def test_labels_may_be_a_column_and_classes_may_be_missing():
    labels = TRAIN[1][:, None]
    assert knn_accuracy(TRAIN[0], labels, *TEST) == knn_accuracy(*TRAIN, *TEST)
    unknown = np.full(300, 99)
    assert knn_accuracy(*TRAIN, TEST[0], unknown) == 0.0


def test_fifty_thousand_by_ten_thousand_takes_seconds():
    random = np.random.default_rng(0)
    train = random.normal(size=(50_000, 192)).astype("float32")
    test = random.normal(size=(10_000, 192)).astype("float32")
    labels = np.arange(50_000) % 10
    start = time.process_time()
    accuracy = knn_accuracy(train, labels, test, labels[:10_000])
    # Of all threads together, whatever else the machine does: 4.2 s measured.
    assert time.process_time() - start < 20
    assert accuracy == pytest.approx(0.1, abs=0.02)


def with_nan():
    features = TRAIN[0].copy()
    features[3, 2] = np.nan
    return features


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((*TRAIN, *TEST, 701), "`k` .*700 images.*Received: k=701"),
        ((*TRAIN, *TEST, 0), "`k` must be a positive integer"),
        ((*TRAIN, *TEST, 2.5), "`k` must be a positive integer"),
        ((*TRAIN, *TEST, []), "`k` must be a positive integer"),
        ((*TRAIN, *TEST, 5, "euclid"), "`protocol` must be one of"),
        ((*TRAIN, *TEST, 5, "clmae", 0), "`temperature` must be a positive"),
        ((*TRAIN, TEST[0][:, :5], TEST[1]), "same width. Received: 12 and 5"),
        ((with_nan(), TRAIN[1], *TEST), "`train_features`.*1 of 700.*index 3"),
        ((TRAIN[0][0], TRAIN[1], *TEST), "`train_features` must have shape"),
        ((TRAIN[0][:0], [], *TEST), "`train_features` must have shape"),
        ((TRAIN[0], TRAIN[1][1:], *TEST), "`train_labels`.*Received: 699"),
        ((TRAIN[0], np.eye(700), *TEST), "`train_labels`.*not one-hot"),
    ],
)
def test_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        knn_accuracy(*arguments)


def test_images_without_a_class_are_refused():
    features = np.eye(4, dtype="float32")
    labels = np.array([0, 1, -1, -1])
    message = (
        r"`{}`.*Received: 2 of 4 labels below 0, the first, -1, at index 2"
    )
    for function in (knn_accuracy, few_shot_accuracy, linear_probe_accuracy):
        for name, pair in (
            ("train_labels", (labels, abs(labels))),
            ("test_labels", (abs(labels), labels)),
        ):
            with pytest.raises(ValueError, match=message.format(name)):
                function(features, pair[0], features, pair[1])
    with pytest.raises(ValueError, match=message.format("labels")):
        draw_few_shot(labels, shots=1, seed=0)
