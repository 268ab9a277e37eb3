"""Functions that PyTorch compiles by themselves.

JAX and TensorFlow compile a step as a whole. `torch.compile` would need minutes
to trace the Python of a model of Keras layers; here it compiles the pure
functions of which all transformer blocks are made, once for all blocks of one
width.
"""

import contextlib
import functools
import warnings

import keras

BACKEND = keras.backend.backend()
if BACKEND == "torch":
    import torch

_active = False


@contextlib.contextmanager
def compiled_regions(active):
    """Within it, `region` functions run compiled if `active`, on PyTorch.

    Args:
        active: bool.
    """
    global _active
    before, _active = _active, bool(active)
    try:
        yield
    finally:
        _active = before


def region(function):
    """Decorator of a pure function that is worth compiling by itself.

    Args:
        function: `function(activations, weights, **constants)` with two tuples
            of tensors; an activation may be `None`. All axes of the activations
            but the last may have any length: another one causes no compilation
            of its own.

    Returns:
        The function; on PyTorch, within `compiled_regions(True)`, compiled.
    """
    if BACKEND != "torch":
        return function
    compiled = torch.compile(function, fullgraph=True, dynamic=False)

    @functools.wraps(function)
    def run(activations, weights, **constants):
        if not _active:
            return function(activations, weights, **constants)
        activations = tuple(_of_any_length(tensor) for tensor in activations)
        # Widths times what needs a gradient: more than the eight variants at
        # which PyTorch gives up by default.
        limit = torch._dynamo.config.patch(recompile_limit=64)
        with limit, warnings.catch_warnings():
            # It need not know that Keras caches which types mix to which.
            warnings.filterwarnings("ignore", "Dynamo detected a call to a")
            return compiled(activations, weights, **constants)

    return run


def _of_any_length(tensor):
    if tensor is None:
        return None
    if tensor._is_view():
        # The lengths of what it is a view of would have no name.
        tensor = tensor.clone()
    # A length of one is a constant for PyTorch.
    axes = [axis for axis, n in enumerate(tensor.shape[:-1]) if n > 1]
    torch._dynamo.maybe_mark_dynamic(tensor, axes)
    return tensor


def attention_options():
    """Arguments of `keras.ops.dot_product_attention`.

    To ask whether a fast kernel fits Keras calls what cannot be compiled;
    PyTorch itself chooses the same one.
    """
    return {"flash_attention": False} if _active else {}
