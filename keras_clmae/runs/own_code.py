"""Import code of the user's own by its name."""

import importlib
import os
import sys


def import_module(name):
    """Imports a module, from the working directory, too.

    Args:
        name: str.

    Returns:
        The module.
    """
    if os.getcwd() not in sys.path:
        # Last, so that it hides nothing that is installed.
        sys.path.append(os.getcwd())
    return importlib.import_module(name)


def check_function_name(setting, name):
    """Refuses what cannot be the name of a function.

    Args:
        setting: str. The setting that has the name.
        name: str, such as `"my_module:function"`.

    Raises:
        ValueError: if it is of another form.
    """
    parts = name.split(":") if isinstance(name, str) else ()
    if len(parts) != 2 or not all(parts):
        raise ValueError(
            f"`{setting}` must be the name of a function, as in "
            f"`my_module:function`. Received: {setting}={name!r}"
        )


def import_function(setting, name):
    """Imports the function that a setting names.

    Args:
        setting: str. The setting.
        name: str, such as `"my_module:function"`.

    Returns:
        The function, or another callable.

    Raises:
        ValueError: if there is none.
    """
    check_function_name(setting, name)
    module, _, path = name.partition(":")
    try:
        found = import_module(module)
        for part in path.split("."):
            found = getattr(found, part)
    # Whatever the module raises when it is imported.
    except Exception as error:
        raise ValueError(
            f"`{setting}` must name a function that can be imported; from "
            "Python it may be passed itself. Received: "
            f"{setting}={name!r} ({type(error).__name__}: {error})"
        ) from error
    if not callable(found):
        raise ValueError(
            f"`{setting}` must name a function. Received: {setting}={name!r}, "
            f"which is {found!r}"
        )
    return found


def function_name(function):
    """Words the name by which a function may be imported.

    Args:
        function: callable.

    Returns:
        str, such as `"my_module:function"`.
    """
    name = getattr(function, "__qualname__", None)
    if name is None:
        function = type(function)
        name = f"{function.__qualname__}()"
    return f"{function.__module__}:{name}"
