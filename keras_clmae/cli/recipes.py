"""List and print the recipes that the package ships."""

from keras_clmae.cli.command import UsageError
from keras_clmae.cli.parsing import make_parser
from keras_clmae.cli.parsing import parse
from keras_clmae.runs.recipes import recipe_names
from keras_clmae.runs.recipes import recipe_path
from keras_clmae.runs.recipes import recipe_summary
from keras_clmae.runs.suggestions import did_you_mean

DESCRIPTION = """\
List the recipes that the package ships, or print one.

  keras-clmae recipes
  keras-clmae recipes digits > mine.yaml
  keras-clmae pretrain --config mine.yaml"""


def main(arguments):
    """Prints the list, or one recipe."""
    parser = make_parser("recipes", DESCRIPTION)
    parser.add_argument("name", nargs="?", help="The recipe to print.")
    name = parse(parser, arguments)["name"]
    names = recipe_names()
    if name is None:
        width = max(map(len, names))
        for each in names:
            print(f"{each:{width}}  {recipe_summary(each)}")
        return
    if name not in names:
        raise UsageError(
            f"the recipe must be one of {', '.join(names)}. Received: "
            f"{name!r}{did_you_mean(name, names)}"
        )
    with open(recipe_path(name), encoding="utf-8") as file:
        print(file.read(), end="")
