"""Tell whether bfloat16 is faster than float32 on this machine."""

import functools
import logging
import pathlib

from keras_clmae.kernels import backend_kernels

# Flags of x86 and Arm as Linux lists them, the fastest first.
_UNITS = ("amx_bf16", "avx512_bf16", "bf16")


@functools.cache
def processor_bfloat16_units():
    """Reads the bfloat16 units of the processor.

    Returns:
        tuple of str., the fastest first, as Linux names them: `"amx_bf16"`
        (tiles, an order of magnitude faster than float32), `"avx512_bf16"`
        (about twice as fast), `"bf16"` (Arm). Empty where the processor has
        none, and on other systems than Linux, which do not tell.

    Example:

    >>> units = keras_clmae.kernels.processor_bfloat16_units()
    >>> set(units) <= {"amx_bf16", "avx512_bf16", "bf16"}
    True
    """
    try:
        text = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return ()
    return _units_in(text)


def _units_in(cpuinfo):
    flags = set()
    for line in cpuinfo.splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("flags", "Features"):
            flags.update(value.split())
    return tuple(unit for unit in _UNITS if unit in flags)


def bfloat16_is_fast():
    """Returns whether `mixed_bfloat16` is worth choosing here.

    It asks the backend for its devices, so call it after
    `keras_clmae.distribution.setup`.

    Returns:
        bool. `True` on TPUs and on GPUs that compute in bfloat16, and on
        PyTorch on processors with units for it. JAX and TensorFlow are not
        known to gain from these units in a whole step.

    Example:

    >>> isinstance(keras_clmae.kernels.bfloat16_is_fast(), bool)
    True
    """
    return _judge()[0]


def settle_precision(precision):
    """Decides what `"auto"` is on this device and backend.

    Args:
        precision: str. `"float32"`, `"mixed_bfloat16"` or `"auto"`; or `None`,
            which stays.

    Returns:
        str or `None`. The name of a dtype policy.

    Raises:
        ValueError: If `precision` is none of them.
    """
    known = ("float32", "mixed_bfloat16", "auto")
    if precision is not None and precision not in known:
        raise ValueError(
            f"`precision` must be one of {', '.join(known)}. Received: "
            f"precision={precision!r}"
        )
    if precision != "auto":
        return precision
    return "mixed_bfloat16" if bfloat16_is_fast() else "float32"


def describe_bfloat16():
    """Returns why bfloat16 is fast here or not, in one line.

    Returns:
        str.

    Example:

    >>> "bfloat16" in keras_clmae.kernels.describe_bfloat16()
    True
    """
    return _judge()[1]


def _judge():
    backend = backend_kernels.NAME
    found = backend_kernels.accelerator()
    if found is not None:
        name, fast = found
        verb = "computes" if fast else "does not compute"
        return fast, f"{name} {verb} in bfloat16"
    units = processor_bfloat16_units()
    if not units:
        return False, "this processor has no bfloat16 units"
    names = " and ".join(unit.upper() for unit in units)
    if any(unit in backend_kernels.FAST_BFLOAT16_UNITS for unit in units):
        return True, f"{backend} uses this processor's bfloat16 units, {names}"
    return False, f"{backend} is not known to be faster in bfloat16 by {names}"


@functools.cache
def say_where_bfloat16_is_slow():
    """Logs one line, once, where bfloat16 is not faster than float32."""
    fast, reason = _judge()
    if not fast:
        logging.getLogger("keras_clmae").warning(
            "mixed_bfloat16 is likely slower than float32 here: %s.", reason
        )
