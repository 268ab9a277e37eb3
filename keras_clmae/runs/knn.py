"""Scores an encoder by k-nearest-neighbour classification.

    python scripts/knn.py runs/digits digits --baseline random

The features are compared by one of two named protocols, and the score is
written to a JSON file with everything that decided it.
"""

import dataclasses
from typing import Literal

from evaluating import extract_splits
from evaluating import run_program


@dataclasses.dataclass
class KNN:
    """Options of k-NN.

    Args:
        protocol: `cosine_weighted` as in DINO, or `clmae` as in CL-MAE.
        k: Numbers of neighbours; the first one is the score in the report.
            Defaults to the protocol's own, 20 or 5.
        pooling: `mean`, `class_token` or `mean_before_norm`.
        temperature: Temperature of the votes, for `cosine_weighted`.
    """

    protocol: Literal["cosine_weighted", "clmae"] = "cosine_weighted"
    k: list[int] | None = None
    pooling: Literal["mean", "class_token", "mean_before_norm"] = "mean"
    temperature: float = 0.07

    def protocol_label(self):
        k = (self.k or [{"cosine_weighted": 20, "clmae": 5}[self.protocol]])[0]
        return f"knn {self.protocol} k={k} {self.pooling}"


def evaluate(common, own, encoder, which):
    from keras_clmae import evaluation

    scores = evaluation.knn_scores(
        *extract_splits(common, encoder, own.pooling),
        k=own.k,
        protocol=own.protocol,
        temperature=own.temperature,
    )
    first = next(iter(scores.values()))
    return {**first, "by_k": scores}


def main(arguments=None):
    return run_program(__doc__, KNN, evaluate, arguments)


if __name__ == "__main__":
    main()
