"""Find the recipes that the package ships, by name."""

import os

from keras_clmae.runs.suggestions import did_you_mean

_FOLDER = os.path.join(os.path.dirname(os.path.dirname(__file__)), "recipes")
_ENDING = ".yaml"


def recipe_names():
    """Lists the recipes that the package ships.

    Returns:
        A sorted list of str.

    Example:

    >>> keras_clmae.runs.recipe_names()
    ['cifar10', 'digits', 'digits_published', 'imagenet_base']
    """
    return sorted(
        name.removesuffix(_ENDING)
        for name in os.listdir(_FOLDER)
        if name.endswith(_ENDING)
    )


def recipe_path(recipe):
    """Gives the file of a recipe.

    Args:
        recipe: str. Name of a recipe of the package, or path of a YAML file,
            which goes first.

    Returns:
        str. Path of a file that exists.

    Raises:
        ValueError: if there is no such file and no such name.
    """
    recipe = os.fspath(recipe)
    if os.path.isfile(recipe):
        return recipe
    if recipe in recipe_names():
        return os.path.join(_FOLDER, recipe + _ENDING)
    raise ValueError(
        "`config` must be the path of a YAML file, or the name of a recipe: "
        f"{', '.join(recipe_names())}. Received: config={recipe!r}"
        f"{did_you_mean(recipe, recipe_names())}"
    )


def recipe_summary(name):
    """Reads the one line that says what a recipe is for.

    Args:
        name: str. Of a recipe of the package.

    Returns:
        str. The first sentence at the top of the file.
    """
    words = []
    with open(recipe_path(name), encoding="utf-8") as file:
        for line in file:
            if not line.startswith("#"):
                break
            words += line.removeprefix("#").split()
    sentence, *_ = " ".join(words).split(". ")
    return sentence.removesuffix(".")


def load_recipe(recipe):
    """Reads the settings of a recipe.

    Args:
        recipe: str. Name of a recipe of the package, or path of a YAML file.

    Returns:
        dict. Arguments of `pretrain`.

    Raises:
        ValueError: if there is no such recipe, or it is no mapping of settings.

    Example:

    >>> keras_clmae.runs.load_recipe("digits")["epochs"]
    60
    """
    from keras_clmae.runs.yaml_files import read_yaml

    return read_yaml(recipe_path(recipe))
