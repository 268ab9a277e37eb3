"""Find the columns of images and labels in a table."""

import json

from keras_clmae.data.sources.records import class_numbers

IMAGE_NAMES = ("image", "img", "pixel_values", "images", "picture", "photo")
LABEL_NAMES = ("label", "labels", "class", "cls", "target")


def choose_column(candidates, usual, argument, title, columns):
    """Chooses the only column that can be meant.

    Args:
        candidates: list of str. Columns of the right type.
        usual: sequence of strings, names that come first.
        argument: str. The argument by which users name the column.
        title: str. What messages call the table.
        columns: list of str. All columns.

    Returns:
        str.

    Raises:
        ValueError: If there is no candidate, or several without a usual name.
    """
    for name in usual:
        if name in candidates:
            return name
    if len(candidates) == 1:
        return candidates[0]
    found = f"several, {candidates}" if candidates else "none"
    raise ValueError(
        f"`{argument}` must name a column of {title!r}, since exactly one "
        f"column that fits was expected and {found} found. "
        f"Received: {argument}=None, and the columns {list(columns)}"
    )


def check_column(name, argument, title, columns):
    """Refuses a table without a column.

    Args:
        name: str. The column.
        argument: str. The argument by which users name it.
        title: str. What messages call the table.
        columns: list of str. All columns.

    Returns:
        `name`.

    Raises:
        ValueError: If there is no such column.
    """
    if name not in columns:
        raise ValueError(
            f"`{argument}` must be a column of {title!r}: {list(columns)}. "
            f"Received: {argument}={name!r}"
        )
    return name


def is_image_type(arrow_type):
    """Tells whether a column holds bytes of files, plain or with a path.

    Args:
        arrow_type: A `pyarrow.DataType`.

    Returns:
        bool.
    """
    import pyarrow as pa

    if pa.types.is_struct(arrow_type):
        position = arrow_type.get_field_index("bytes")
        return position >= 0 and is_image_type(arrow_type.field(position).type)
    return pa.types.is_binary(arrow_type) or pa.types.is_large_binary(
        arrow_type
    )


def is_label_type(arrow_type):
    """Tells whether a column can hold labels: integers or strings.

    Args:
        arrow_type: A `pyarrow.DataType`.

    Returns:
        bool.
    """
    import pyarrow as pa

    if pa.types.is_dictionary(arrow_type):
        arrow_type = arrow_type.value_type
    return (
        pa.types.is_integer(arrow_type)
        or pa.types.is_string(arrow_type)
        or pa.types.is_large_string(arrow_type)
    )


def image_column(schema, title, arrays=False):
    """Finds the column of images in the schema of a table.

    Args:
        schema: A `pyarrow.Schema`.
        title: str. What messages call the table.
        arrays: bool. Whether a column of a usual name may hold arrays in
            place of files. Defaults to `False`.

    Returns:
        str.

    Raises:
        ValueError: If no column or several ones can be meant.
    """
    candidates = [
        field.name
        for field in schema
        if is_image_type(field.type) or (arrays and field.name in IMAGE_NAMES)
    ]
    return choose_column(
        candidates, IMAGE_NAMES, "image_column", title, schema.names
    )


def label_column(schema, title):
    """Finds the column of labels in the schema of a table.

    Args:
        schema: A `pyarrow.Schema`.
        title: str. What messages call the table.

    Returns:
        str.

    Raises:
        ValueError: If no column or several ones can be meant.
    """
    named = class_names_of(schema)
    candidates = list(named) or [
        name
        for name in LABEL_NAMES
        if name in schema.names and is_label_type(schema.field(name).type)
    ]
    return choose_column(
        candidates, LABEL_NAMES, "label_column", title, schema.names
    )


def class_names_of(schema):
    """Reads the names of classes that Hugging Face keeps with a table.

    Args:
        schema: A `pyarrow.Schema`.

    Returns:
        Dictionary, names of columns to lists of strings.
    """
    stored = (schema.metadata or {}).get(b"huggingface", b"{}")
    features = json.loads(stored).get("info", {}).get("features", {})
    return {
        name: feature["names"]
        for name, feature in features.items()
        if isinstance(feature, dict) and feature.get("_type") == "ClassLabel"
    }


def labels_of(column):
    """Numbers the labels of a column.

    Args:
        column: A `pyarrow.ChunkedArray` of integers or strings.

    Returns:
        See `class_numbers`.
    """
    import pyarrow as pa

    if pa.types.is_integer(column.type):
        # Not one by one, for tables of many millions.
        return class_numbers(column.fill_null(-1).to_numpy())
    return class_numbers(column.to_pylist())
