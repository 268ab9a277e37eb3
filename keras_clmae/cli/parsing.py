"""Parse the options of a subcommand with jsonargparse."""

import argparse
import re

import jsonargparse

from keras_clmae.cli.command import UsageError
from keras_clmae.runs.recipes import recipe_path
from keras_clmae.runs.suggestions import did_you_mean

# How jsonargparse words a value of another type, one that is of none of several
# types, and what is missing.
_UNION = re.compile(
    r'Parser key "(\w+)": Does not validate against any of the Union subtypes '
    r"Subtypes: \[(.+)\] Errors: .* Given value: (.*)"
)
_VALUE = re.compile(
    r'.*Parser key "([\w.]+)": Expected a (?:typing\.Literal\[(.*?)\]'
    r"|<class '(\w+)'>)\. Got value: (.*)"
)
_MISSING = re.compile(r"the following arguments are required: (.+)")
_OPTION = re.compile(r"(--[\w.-]+)(=.*)?", re.DOTALL)


class HelpFormatter(
    argparse.RawDescriptionHelpFormatter, jsonargparse.DefaultHelpFormatter
):
    """Keeps the lines of the description."""


def make_parser(subcommand, description):
    """Makes the parser of a subcommand.

    Args:
        subcommand: str. Its name.
        description: str. What `--help` says before the options.

    Returns:
        A `jsonargparse.ArgumentParser` for `parse`.
    """
    return jsonargparse.ArgumentParser(
        prog=f"keras-clmae {subcommand}",
        description=description,
        formatter_class=HelpFormatter,
        exit_on_error=False,
        # `--epoch` is a typo, not an option that a later one may take away.
        allow_abbrev=False,
    )


def parse(parser, arguments, defaults=True):
    """Parses, and says in one line what is wrong.

    Args:
        parser: what `make_parser` gave.
        arguments: list of str. Options may be spelled with `-` for `_`.
        defaults: bool. Whether to fill in what is not given.

    Returns:
        dict from names to values, without `config`.

    Raises:
        UsageError: if the arguments are wrong.
    """
    arguments = _with_underscores(arguments)
    try:
        values = parser.parse_args(
            _with_recipes(arguments), defaults=defaults
        ).as_dict()
    except (argparse.ArgumentError, jsonargparse.ArgumentError) as error:
        raise UsageError(_worded(parser, arguments, error)) from error
    values.pop("config", None)
    return values


def checked(make, *arguments, **values):
    """Makes settings; what they refuse is wrong usage.

    Args:
        make: function that raises `ValueError` where the settings are wrong.
        *arguments: its arguments.
        **values: its arguments by name.

    Returns:
        What the function returns.

    Raises:
        UsageError: instead of the `ValueError`.
    """
    try:
        return make(*arguments, **values)
    except ValueError as error:
        raise UsageError(str(error)) from error


def _with_underscores(arguments):
    """Writes `--run-dir` as `--run_dir`, the name of the setting."""
    spelled = []
    for word in arguments:
        found = _OPTION.fullmatch(word)
        if found:
            name = "--" + found[1][2:].replace("-", "_")
            word = name + (found[2] or "")
        spelled.append(word)
    return spelled


def _with_recipes(arguments):
    """Puts the paths of recipes for their names."""
    replaced = list(arguments)
    for index, word in enumerate(arguments):
        if word.startswith("--config="):
            path = checked(recipe_path, word.removeprefix("--config="))
            replaced[index] = f"--config={path}"
        elif word == "--config" and index + 1 < len(arguments):
            replaced[index + 1] = checked(recipe_path, arguments[index + 1])
    return replaced


def _worded(parser, arguments, error):
    """One sentence about wrong arguments, with the option that was meant."""
    message = " ".join(str(error).split())
    known = [
        option
        for action in parser._actions
        for option in action.option_strings
        if option.startswith("--")
    ]
    for word in arguments:
        found = _OPTION.fullmatch(word)
        if found and found[1] in message and found[1] not in known:
            suggestion = did_you_mean(found[1], known)
            return (
                f"{found[1]} is no option of `{parser.prog}`"
                f"{suggestion or '; --help lists them'}"
            )
    found = _MISSING.fullmatch(message)
    if found:
        names = [
            f"--{name}" if f"--{name}" in known else name
            for name in found[1].split(", ")
        ]
        missing = " and ".join(names)
        return f"`{parser.prog}` needs {missing}; --help shows examples"
    found = _VALUE.fullmatch(message)
    if found:
        name, choices, kind, value = found.groups(default="")
        expected = f"one of {choices}" if choices else f"of type {kind}"
        suggestion = did_you_mean(value, re.findall(r"\w+", choices))
        return (
            f"`{name}` must be {expected}. Received: {name}={value}{suggestion}"
        )
    found = _UNION.fullmatch(message)
    if found:
        name, kinds, value = found.groups()
        kinds = re.sub(r"<class '(\w+)'>", r"\1", kinds)
        kinds = kinds.replace("], ", "] or ").replace(", NoneType", " or None")
        kinds = re.sub(r"typing\.Literal\[(.*?)\]", r"\1", kinds)
        kinds = kinds.replace("NoneType", "None")
        kinds = re.sub(r"(\w), (?=\w)", r"\1 or ", kinds)
        return f"`{name}` must be {kinds}. Received: {name}={value}"
    return message
