"""Read the card beside stored weights, and check that it means these."""

import hashlib
import json
import os

CARD = "card.json"


def read_card(folder):
    """Reads the model card of a stored model.

    Args:
        folder: str. Folder of a preset with a card.

    Returns:
        A dict: data, recipe, seed, passes, machine, time, scores by protocol,
        license and SHA-256 of the weights.
    """
    with open(os.path.join(folder, CARD), encoding="utf-8") as file:
        return json.load(file)


def check_weights(weights):
    """Refuses weights that are not those of the card beside them, if any.

    Args:
        weights: str. The file of the weights.

    Raises:
        ValueError: If their SHA-256 is another one.
    """
    folder = os.path.dirname(weights)
    if not os.path.isfile(os.path.join(folder, CARD)):
        return
    expected = read_card(folder).get("sha256")
    if expected is None or not os.path.isfile(weights):
        return
    found = sha256_of(weights)
    if found != expected:
        raise ValueError(
            f"{weights!r} must have the SHA-256 {expected}, which {CARD} "
            f"beside it says. Received: {found}. Fetch the weights anew, or "
            "remove the card if you changed them"
        )


def sha256_of(path):
    """Computes the SHA-256 of a file, as hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
