"""Read objective, masker and masking module out of the settings of a run.

Names and shapes are checked without Keras; classes are imported when a part is
made.
"""

from keras_clmae.runs.own_code import import_module
from keras_clmae.runs.suggestions import did_you_mean

# Setting -> the names that it takes, each with the path of its class.
NAMES = {
    "objective": {
        "curriculum": "keras_clmae.objectives.CurriculumObjective",
        "patch_error": "keras_clmae.objectives.PatchErrorObjective",
    },
    "masker": {
        "random": "keras_clmae.maskers.RandomMasker",
        "block": "keras_clmae.maskers.BlockMasker",
        "grid": "keras_clmae.maskers.GridMasker",
        "color_noise": "keras_clmae.maskers.ColorNoiseMasker",
    },
    "masking_module": {"transformer": "keras_clmae.maskers.MaskingModule"},
}
_PATH_KEYS = {"class_path", "init_args"}


def part_of(setting, value):
    """Reads which class a setting names, and the arguments of it.

    Args:
        setting: str. `"objective"`, `"masker"` or `"masking_module"`.
        value: str, a name; or dict: `name` and arguments, or `class_path` and
            `init_args`. A masking module may leave out `name`.

    Returns:
        A pair: the path of the class, and a dict of its arguments.

    Raises:
        ValueError: if the value is neither, or the name is unknown.

    Example:

    >>> from keras_clmae.runs.parts import part_of
    >>> part_of("objective", {"name": "patch_error", "sharpness": 2.0})
    ('keras_clmae.objectives.PatchErrorObjective', {'sharpness': 2.0})
    """
    names = NAMES[setting]
    if isinstance(value, str):
        value = {"name": value}
    if "class_path" in value:
        arguments = value.get("init_args") or {}
        path = value["class_path"]
        if (
            set(value) <= _PATH_KEYS
            and isinstance(path, str)
            and "." in path
            and isinstance(arguments, dict)
        ):
            return path, dict(arguments)
        raise ValueError(
            f"`{setting}` must have a `class_path` such as `module.Class`, and "
            f"arguments in `init_args`. Received: {setting}={value!r}"
        )
    arguments = dict(value)
    default = "transformer" if setting == "masking_module" else None
    name = arguments.pop("name", default)
    if name not in names:
        raise ValueError(
            f"`{setting}` must be one of {', '.join(names)}, or have a "
            f"`class_path`. Received: {setting}={value.get('name', value)!r}"
            f"{did_you_mean(name, names)}"
        )
    return names[name], arguments


def import_class(setting, value):
    """Imports the class that a setting names.

    Modules of the user's own are looked for in the working directory, too.

    Args:
        setting: str. As in `part_of`.
        value: As in `part_of`.

    Returns:
        The class.

    Raises:
        ValueError: if there is no such class.
    """
    path, _ = part_of(setting, value)
    module, _, name = path.rpartition(".")
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ValueError(
            f"`{setting}` must name a class that can be imported. Received: "
            f"class_path={path!r} ({error})"
        ) from error


def import_classes(settings):
    """Imports all classes that the settings of a run name.

    Loading a model needs those of the user's own.

    Args:
        settings: `Settings`.

    Raises:
        ValueError: if one cannot be imported.
    """
    for setting in NAMES:
        value = getattr(settings, setting)
        if value:
            import_class(setting, value)


def make_part(setting, value, **defaults):
    """Makes what a setting names.

    Args:
        setting: str. As in `part_of`.
        value: As in `part_of`.
        **defaults: arguments of the package's own classes, which the settings
            replace. A class of the user's own gets its `init_args` only.

    Returns:
        An instance.

    Raises:
        ValueError: if the class cannot be imported, or refuses its arguments.
    """
    path, arguments = part_of(setting, value)
    made = import_class(setting, value)
    if path in NAMES[setting].values():
        arguments = {**defaults, **arguments}
    try:
        return made(**arguments)
    except TypeError as error:
        raise ValueError(
            f"`{setting}` must have arguments of {made.__name__}. Received: "
            f"{arguments} ({error})"
        ) from error


def make_objective(settings):
    """Makes the objective of a run.

    Args:
        settings: `Settings`.

    Returns:
        A `MaskingObjective`, or `None` where the settings name none.
    """
    if settings.objective is None:
        return None
    return make_part("objective", settings.objective)
