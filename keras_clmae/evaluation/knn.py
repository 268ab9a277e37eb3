"""Classify features by their exact nearest neighbors, by named protocols."""

import numpy as np

from keras_clmae.evaluation.feature_arrays import check_split

# protocol -> its own k.
# "cosine_weighted": eval_knn.py of DINO (Caron et al., ICCV 2021,
# https://arxiv.org/abs/2104.14294, appendix F.1: 20 neighbors, temperature
# 0.07). "clmae": the published code of CL-MAE (Madan et al., WACV 2024,
# https://arxiv.org/abs/2308.16572), engine_zeroshot.py.
KNN_PROTOCOLS = {"cosine_weighted": 20, "clmae": 5}

# Training images that share one maximum in the search for the nearest.
GROUP_SIZE = 64
# Similarities held at once, in numbers (float32): 64 MiB.
SIMILARITY_BUDGET = 2**24


def knn_scores(
    train_features,
    train_labels,
    test_features,
    test_labels,
    k=None,
    protocol="cosine_weighted",
    temperature=0.07,
):
    """Score features by their nearest neighbors, for several `k` at once.

    Protocols:

    - `"cosine_weighted"` (DINO): features scaled to length one; each of the k
      most similar training images votes for its class with the weight
      `exp(similarity / temperature)`.
    - `"clmae"` (CL-MAE's "zero-shot"): plain Euclidean distance of features as
      they are, one vote for each of the k nearest.

    A tie between classes goes to the lowest label. The search is exact: every
    test image is compared with every training image, in float32 and in chunks,
    so that memory does not grow with the number of test images. It runs in
    NumPy and gives the same numbers on every backend.

    Args:
        train_features: Array of shape `(train_images, width)`.
        train_labels: Integer array of shape `(train_images,)`.
        test_features: Array of shape `(test_images, width)`.
        test_labels: Integer array of shape `(test_images,)`. A class that
            `train_labels` lacks is allowed, and always wrong.
        k: int or list of int. Defaults to the protocol's own: 20 for
            `"cosine_weighted"`, 5 for `"clmae"`.
        protocol: str. `"cosine_weighted"` or `"clmae"`. Defaults to
            `"cosine_weighted"`.
        temperature: float. Temperature of the votes, used by
            `"cosine_weighted"` only. Defaults to 0.07.

    Returns:
        A dict that maps each k to `{"accuracy": ..., "any_correct": ...}`, both
        in [0, 1]: the share of test images whose vote is right, and the share
        with at least one neighbor of the right class (CL-MAE's second figure).

    Raises:
        ValueError: If the arrays do not fit each other, features hold NaN, `k`
            is larger than the training set, or the protocol is unknown.

    Example:

    >>> import numpy as np
    >>> from keras_clmae.evaluation import knn_scores
    >>> features = np.array([[0.0], [1.0], [10.0], [11.0]])
    >>> labels = np.array([0, 1, 1, 1])
    >>> knn_scores(features, labels, [[0.4]], [1], k=3, protocol="clmae")
    {3: {'accuracy': 1.0, 'any_correct': 1.0}}
    """
    _check_protocol(protocol, temperature)
    arrays = check_split(
        train_features, train_labels, test_features, test_labels
    )
    ks = _check_k(KNN_PROTOCOLS[protocol] if k is None else k, len(arrays[0]))
    return _score(*arrays, ks, protocol, temperature)


def knn_leave_one_out_scores(
    features, labels, k=None, protocol="cosine_weighted", temperature=0.07
):
    """Score features by the nearest neighbors among all other images.

    Every image is classified by all the others, so that a small data set is a
    large test. Of use where pretraining saw no labels: the images that the
    encoder was trained on are among those that are classified.

    Args:
        features: Array of shape `(images, width)`.
        labels: Integer array of shape `(images,)`.
        k: int or list of int. Defaults to the protocol's own: 20 for
            `"cosine_weighted"`, 5 for `"clmae"`.
        protocol: str. See `knn_scores`. Defaults to `"cosine_weighted"`.
        temperature: float. Temperature of the votes, used by
            `"cosine_weighted"` only. Defaults to 0.07.

    Returns:
        A dict that maps each k to `{"accuracy": ..., "any_correct": ...}`, as
        `knn_scores`.

    Raises:
        ValueError: As `knn_scores`; `k` must be smaller than the number of
            images.

    Example:

    >>> import numpy as np
    >>> from keras_clmae.evaluation import knn_leave_one_out_scores
    >>> features = np.array([[0.0], [1.0], [10.0], [11.0]])
    >>> labels = np.array([0, 0, 1, 0])
    >>> knn_leave_one_out_scores(features, labels, k=1, protocol="clmae")
    {1: {'accuracy': 0.5, 'any_correct': 0.5}}
    """
    _check_protocol(protocol, temperature)
    arrays = check_split(features, labels, features, labels)
    ks = _check_k(
        KNN_PROTOCOLS[protocol] if k is None else k, len(arrays[0]) - 1
    )
    return _score(*arrays, ks, protocol, temperature, leave_one_out=True)


def _score(
    train_features,
    train_labels,
    test_features,
    test_labels,
    ks,
    protocol,
    temperature,
    leave_one_out=False,
):
    """The scores by k; with `leave_one_out` no image is its own neighbor."""
    if protocol == "cosine_weighted":
        train_features = _normalize(train_features)
        test_features = _normalize(test_features)
        offsets = np.zeros(len(train_features), "float32")
    else:
        # |a - b|^2 = |a|^2 - 2 (a.b - |b|^2 / 2), and |a| is the same for all
        # b. Distances do not change when both move, and around the mean the
        # difference of the two large terms keeps its digits.
        mean = train_features.mean(axis=0, dtype="float64").astype("float32")
        train_features = train_features - mean
        test_features = test_features - mean
        offsets = -0.5 * np.square(train_features).sum(axis=1)

    classes, train_codes = np.unique(train_labels, return_inverse=True)
    correct = dict.fromkeys(ks, 0)
    any_correct = dict.fromkeys(ks, 0)
    for rows, indices, similarities in _nearest(
        train_features, test_features, offsets, max(ks) + leave_one_out
    ):
        if leave_one_out:
            indices, similarities = _others(rows, indices, similarities)
        truth = test_labels[rows, None]
        if protocol == "cosine_weighted":
            # Relative to the best neighbor, so that no temperature overflows.
            weights = np.exp((similarities - similarities[:, :1]) / temperature)
        else:
            weights = np.ones_like(similarities)
        neighbors = train_codes[indices]
        for each in ks:
            votes = _count_votes(
                neighbors[:, :each], weights[:, :each], len(classes)
            )
            predictions = classes[votes.argmax(axis=1)]
            correct[each] += np.count_nonzero(predictions == truth[:, 0])
            hits = classes[neighbors[:, :each]] == truth
            any_correct[each] += np.count_nonzero(hits.any(axis=1))
    total = len(test_labels)
    return {
        each: {
            "accuracy": float(correct[each] / total),
            "any_correct": float(any_correct[each] / total),
        }
        for each in ks
    }


def knn_accuracy(
    train_features,
    train_labels,
    test_features,
    test_labels,
    k=None,
    protocol="cosine_weighted",
    temperature=0.07,
):
    """Accuracy of a k-nearest-neighbour classifier on features.

    `knn_scores` describes the protocols and gives the second figure of
    `"clmae"` as well.

    Args:
        train_features: Array of shape `(train_images, width)`.
        train_labels: Integer array of shape `(train_images,)`.
        test_features: Array of shape `(test_images, width)`.
        test_labels: Integer array of shape `(test_images,)`.
        k: int or list of int. Defaults to the protocol's own: 20 for
            `"cosine_weighted"`, 5 for `"clmae"`.
        protocol: str. `"cosine_weighted"` or `"clmae"`. Defaults to
            `"cosine_weighted"`.
        temperature: float. Temperature of the votes, used by
            `"cosine_weighted"` only. Defaults to 0.07.

    Returns:
        A float in [0, 1]; for a list of k, a dict that maps each k to it.

    Raises:
        ValueError: As `knn_scores`.

    Example:

    >>> import numpy as np
    >>> from keras_clmae.evaluation import knn_accuracy
    >>> features = np.array([[1.0, 0.1], [1.0, 0.2], [0.1, 1.0], [0.2, 1.0]])
    >>> labels = np.array([0, 0, 1, 1])
    >>> knn_accuracy(features, labels, [[2.0, 0.0]], [0], k=2)
    1.0
    """
    scores = knn_scores(
        train_features,
        train_labels,
        test_features,
        test_labels,
        k=k,
        protocol=protocol,
        temperature=temperature,
    )
    accuracies = {each: score["accuracy"] for each, score in scores.items()}
    if k is None or np.ndim(k) == 0:
        return next(iter(accuracies.values()))
    return accuracies


def _check_protocol(protocol, temperature):
    if protocol not in KNN_PROTOCOLS:
        raise ValueError(
            f"`protocol` must be one of {sorted(KNN_PROTOCOLS)}. "
            f"Received: protocol={protocol!r}"
        )
    if not temperature > 0:
        raise ValueError(
            "`temperature` must be a positive number. Received: "
            f"temperature={temperature}"
        )


def _others(rows, indices, similarities):
    """Takes the image itself from its neighbors, of which one is too many."""
    own = indices == np.arange(rows.start, rows.stop)[:, None]
    # Among many equal images it may have come too late.
    own[~own.any(axis=1), -1] = True
    shape = (len(indices), indices.shape[1] - 1)
    return indices[~own].reshape(shape), similarities[~own].reshape(shape)


def _check_k(k, num_neighbors):
    ks = [k] if np.ndim(k) == 0 else list(k)
    for each in ks:
        if not isinstance(each, int | np.integer) or isinstance(each, bool):
            ks = []
    if not ks or min(ks) < 1 or max(ks) > num_neighbors:
        raise ValueError(
            "`k` must be a positive integer, or a list of them, not "
            f"larger than the training set ({num_neighbors} images). "
            f"Received: k={k}"
        )
    return [int(each) for each in ks]


def _normalize(features):
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    return features / np.maximum(lengths, 1e-12)


def _nearest(train_features, test_features, offsets, k):
    """Yield `(rows, indices, similarities)` of the k most similar, in order.

    The similarity is the dot product plus `offsets`. Column j belongs to group
    `j % num_groups`. The k best columns lie in the k groups with the largest
    maxima, so only those groups need to be searched: one cheap pass over all
    similarities instead of a selection among all of them.
    """
    num_train = len(train_features)
    num_groups = max(-(-num_train // GROUP_SIZE), k)
    group_size = -(-num_train // num_groups)
    width = num_groups * group_size
    chunk_size = max(1, SIMILARITY_BUDGET // width)
    transposed = np.ascontiguousarray(train_features.T)
    buffer = np.empty((min(chunk_size, len(test_features)), width), "float32")
    members = np.arange(group_size)[:, None] * num_groups
    for start in range(0, len(test_features), chunk_size):
        queries = test_features[start : start + chunk_size]
        similarities = buffer[: len(queries)]
        np.matmul(queries, transposed, out=similarities[:, :num_train])
        similarities[:, :num_train] += offsets
        similarities[:, num_train:] = -np.inf
        maxima = similarities.reshape(-1, group_size, num_groups).max(axis=1)
        groups = np.argpartition(maxima, num_groups - k, axis=1)[:, -k:]
        candidates = (members + groups[:, None, :]).reshape(len(queries), -1)
        found = np.take_along_axis(similarities, candidates, axis=1)
        # Best first; equal similarities by index.
        order = np.lexsort((candidates, -found), axis=1)[:, :k]
        yield (
            slice(start, start + len(queries)),
            np.take_along_axis(candidates, order, axis=1),
            np.take_along_axis(found, order, axis=1),
        )


def _count_votes(neighbors, weights, num_classes):
    rows = np.arange(len(neighbors))[:, None]
    return np.bincount(
        (rows * num_classes + neighbors).ravel(),
        weights=weights.ravel(),
        minlength=len(neighbors) * num_classes,
    ).reshape(len(neighbors), num_classes)
