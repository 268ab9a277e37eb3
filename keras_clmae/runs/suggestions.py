"""Suggest the name that was meant."""

import difflib


def did_you_mean(name, known):
    """Words the end of an error about an unknown name.

    Args:
        name: str. The name that was given.
        known: iterable of str. The names that exist.

    Returns:
        str. `". Did you mean ...?"`, or an empty string where none is near.

    Example:

    >>> from keras_clmae.runs.suggestions import did_you_mean
    >>> did_you_mean("epoch", ["epochs", "seed"])
    ". Did you mean 'epochs'?"
    """
    near = difflib.get_close_matches(str(name), list(known), n=1)
    return f". Did you mean {near[0]!r}?" if near else ""
