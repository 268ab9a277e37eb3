"""Map the arrays of a format to our weights by tables, both ways.

A table is a list of `Entry`, made from sizes alone: it exists before any model
does, so that a file is checked against it before anything is allocated. The
same table reads and writes. Weights of ours are named by attributes, such as
`encoder.blocks.0.attention.qkv_kernel`; the first word is the part.
"""

import functools
from typing import NamedTuple

import numpy as np
from keras import ops


class Entry(NamedTuple):
    """Arrays of a format, and the weights that they stand for.

    Attributes:
        theirs: dict from names in the format to shapes there.
        ours: tuple of attribute paths.
        to_ours: callable. Maps their arrays to a list of ours.
        to_theirs: callable. Its inverse.
    """

    theirs: dict
    ours: tuple
    to_ours: object
    to_theirs: object

    @property
    def part(self):
        """Part of the model, such as `"encoder"`."""
        return self.ours[0].split(".")[0]


class Mapped(NamedTuple):
    """A row of a report: names there, names here, shapes there."""

    theirs: tuple
    ours: tuple
    shapes: tuple


class Report(NamedTuple):
    """Lists which weight became which in a conversion.

    Attributes:
        mapped: list of `Mapped`, named tuples of `theirs` (names in the other
            format), `ours` (names of our weights) and `shapes` (of theirs).
        left_over: list of str. Names in the source without a place in the
            target.
        missing: list of str. Names in the target without a value in the source.
    """

    mapped: list
    left_over: list
    missing: list


# === Layouts ===


def same(name, path, shape):
    """Makes the entry of an array that is the same in both."""
    return Entry(
        {name: shape}, (path,), lambda array: [array], lambda array: [array]
    )


def norm(name, path, dim):
    """Makes the entries of PyTorch's layer normalization."""
    return [
        same(f"{name}.weight", f"{path}.gamma", (dim,)),
        same(f"{name}.bias", f"{path}.beta", (dim,)),
    ]


def dense(name, path, inputs, outputs):
    """Makes the entries of PyTorch's linear layer, (outputs, inputs)."""
    return [
        Entry(
            {f"{name}.weight": (outputs, inputs)},
            (f"{path}.kernel",),
            lambda weight: [weight.T],
            lambda kernel: [kernel.T],
        ),
        same(f"{name}.bias", f"{path}.bias", (outputs,)),
    ]


def fused_attention(name, path, dim, num_heads):
    """Makes the entries of query, key and value in one linear layer."""
    kernel_shape = (dim, 3, num_heads, dim // num_heads)
    return [
        Entry(
            {f"{name}.weight": (3 * dim, dim)},
            (f"{path}.qkv_kernel",),
            lambda weight: [weight.T.reshape(kernel_shape)],
            lambda kernel: [kernel.reshape(dim, 3 * dim).T],
        ),
        Entry(
            {f"{name}.bias": (3 * dim,)},
            (f"{path}.qkv_bias",),
            lambda bias: [bias.reshape(kernel_shape[1:])],
            lambda bias: [bias.reshape(3 * dim)],
        ),
    ]


def split_attention(names, path, dim, num_heads, bias=True):
    """Makes the entries of query, key and value in three linear layers.

    Args:
        names: their three names.
        path: str. Path of our attention layer.
        dim: int. Width.
        num_heads: int. Number of heads.
        bias: bool. Whether they have biases; ours are zero where not.
    """
    head_shape = (num_heads, dim // num_heads)
    weights = {f"{name}.weight": (dim, dim) for name in names}
    biases = {f"{name}.bias": (dim,) for name in names if bias}

    def stack(*arrays):
        if not arrays:
            return [np.zeros((3, *head_shape), "float32")]
        return [np.stack([array.reshape(head_shape) for array in arrays])]

    return [
        Entry(
            weights,
            (f"{path}.qkv_kernel",),
            lambda *arrays: [
                np.stack([a.T.reshape(dim, *head_shape) for a in arrays], 1)
            ],
            lambda kernel: [kernel[:, i].reshape(dim, dim).T for i in range(3)],
        ),
        Entry(
            biases,
            (f"{path}.qkv_bias",),
            stack,
            lambda array: [array[i].reshape(dim) for i in range(len(biases))],
        ),
    ]


def patch_projection(name, path, patch_size, channels, dim):
    """Makes the entries of a strided convolution, a matrix here."""
    kernel_shape = (patch_size, patch_size, channels, dim)
    return [
        Entry(
            {f"{name}.weight": (dim, channels, patch_size, patch_size)},
            (f"{path}.kernel",),
            lambda array: [array.transpose(2, 3, 1, 0).reshape(-1, dim)],
            lambda kernel: [kernel.reshape(kernel_shape).transpose(3, 2, 0, 1)],
        ),
        same(f"{name}.bias", f"{path}.bias", (dim,)),
    ]


def positions(name, num_tokens, dim, leading=(1,)):
    """Makes the entry of the encoder's position table, class token first."""
    shape = (*leading, num_tokens + 1, dim)

    def to_ours(array):
        rows = array.reshape(num_tokens + 1, dim)
        return [rows[None, :1], rows[1:]]

    return Entry(
        {name: shape},
        (
            "encoder.class_token.position",
            "encoder.position_embedding.position_table",
        ),
        to_ours,
        lambda row, table: [np.concatenate([row[0], table]).reshape(shape)],
    )


def decoder_positions(name, num_tokens, dim):
    """Makes the entry of the decoder's position table, class token first."""
    return Entry(
        {name: (1, num_tokens + 1, dim)},
        ("decoder.position_embedding.position_table",),
        lambda array: [array[0]],
        lambda table: [table[None]],
    )


# === Both ways ===


def components_of(model):
    """Maps the first word of a path to that component of a model."""
    if hasattr(model, "masking_module"):
        return {
            **components_of(model.autoencoder),
            "masking_module": model.masking_module,
        }
    if hasattr(model, "decoder"):
        return {"encoder": model.encoder, "decoder": model.decoder}
    if hasattr(model, "head"):
        return {
            "encoder": model.encoder,
            "head_norm": model.norm,
            "head": model.head,
        }
    return {"encoder": model}


def resolve(components, path):
    """Finds the object that a path such as `encoder.blocks.0` names."""

    def step(value, word):
        return value[int(word)] if word.isdigit() else getattr(value, word)

    first, *words = path.split(".")
    return functools.reduce(step, words, components[first])


def variables_of(entry, model):
    """Finds the variables that an entry names."""
    components = components_of(model)
    return [resolve(components, path) for path in entry.ours]


def check(table, weights, allow_missing=False):
    """Compares a table with what a file holds, by names and shapes alone.

    Args:
        table: list of `Entry`.
        weights: `Weights`.
        allow_missing: bool. Whether names may be left over or missing.

    Returns:
        A `Report`.

    Raises:
        ValueError: If a shape differs, or something is left over or missing
            and `allow_missing` is false.
    """
    expected = {
        n: shape for entry in table for n, shape in entry.theirs.items()
    }
    left_over = sorted(set(weights.shapes) - set(expected))
    missing = [name for name in expected if name not in weights.shapes]
    hint = "Pass `allow_missing=True` to go on without."
    if left_over and not allow_missing:
        raise no_place_for(left_over, weights.source, hint)
    if missing and not allow_missing:
        part = next(e.part for e in table if missing[0] in e.theirs)
        raise ValueError(
            f"The checkpoint lacks weights of the {part.replace('_', ' ')}: "
            f"{_listed(missing)}. {hint} Received: {weights.source!r}"
        )
    for name, shape in expected.items():
        if name in weights.shapes and weights.shapes[name] != shape:
            raise ValueError(
                f"The checkpoint's {name!r} must be of shape {shape} to fit "
                f"the model. Received: {weights.shapes[name]}"
            )
    mapped = [
        Mapped(tuple(e.theirs), e.ours, tuple(e.theirs.values()))
        for e in table
        if _is_complete(e, weights)
    ]
    return Report(mapped, left_over, missing)


def no_place_for(names, source, hint=""):
    """Makes the error about weights of a file without a place in the model."""
    hint = f" {hint}" if hint else ""
    return ValueError(
        "The checkpoint must hold no weights that the model has no place for: "
        f"{_listed(names)}.{hint} Received: {source!r}"
    )


def assign(table, weights, model):
    """Sets the weights of a model for which `check` found values."""
    for entry in table:
        if not _is_complete(entry, weights):
            continue
        arrays = entry.to_ours(*(weights.read(name) for name in entry.theirs))
        variables = variables_of(entry, model)
        for variable, array in zip(variables, arrays, strict=True):
            variable.assign(array)


def export(table, model, allow_missing=False, ignored=()):
    """Exports the weights of a model in the names and layouts of a format.

    Args:
        table: list of `Entry`.
        model: model of ours.
        allow_missing: bool. Whether weights of the model may be without a
            place in the format.
        ignored: paths of parts that need no place in it.

    Returns:
        A dict from names to contiguous float32 arrays, and a `Report`.

    Raises:
        ValueError: If the format has no place for a weight of the model and
            `allow_missing` is false.
    """
    arrays, mapped = {}, []
    components = components_of(model)
    placed = {
        id(v) for path in ignored for v in resolve(components, path).weights
    }
    for entry in table:
        variables = variables_of(entry, model)
        placed.update(id(variable) for variable in variables)
        values = [ops.convert_to_numpy(v).astype("float32") for v in variables]
        for name, array in zip(
            entry.theirs, entry.to_theirs(*values), strict=True
        ):
            arrays[name] = np.ascontiguousarray(array)
        mapped.append(
            Mapped(
                tuple(entry.theirs), entry.ours, tuple(entry.theirs.values())
            )
        )
    left_over = [v.path for v in model.weights if id(v) not in placed]
    if left_over and not allow_missing:
        raise ValueError(
            "`model` holds weights that the format has no place for: "
            f"{_listed(left_over)}. Pass `allow_missing=True` to leave them "
            "out."
        )
    return arrays, Report(mapped, left_over, [])


def _is_complete(entry, weights):
    return all(name in weights.shapes for name in entry.theirs)


def _listed(names):
    return f"{', '.join(names[:5])}{', ...' if len(names) > 5 else ''}"
