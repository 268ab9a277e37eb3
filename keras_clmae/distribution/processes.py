"""Which of how many processes this one is, as its launcher tells it."""

import os
from typing import NamedTuple


class ProcessPlace(NamedTuple):
    """The place of this process among those of the run.

    Attributes:
        index: int from 0 to `count - 1`.
        count: int. Processes of the run.
        local_index: int. Number of this process on its host.
        coordinator: `"address:port"` of the first process, or `None` for a
            process that is alone.
    """

    index: int = 0
    count: int = 1
    local_index: int = 0
    coordinator: str | None = None


# Names of index, count and local index. `torchrun` sets the first three; the
# launch scripts do for one process a host; `srun` sets the last.
_LAUNCHERS = (
    ("RANK", "WORLD_SIZE", "LOCAL_RANK"),
    (
        "KERAS_DISTRIBUTION_PROCESS_ID",
        "KERAS_DISTRIBUTION_NUM_PROCESSES",
        None,
    ),
    ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID"),
)


def find_process():
    """Reads the place of this process from the environment.

    In this order: `RANK`, `WORLD_SIZE` and `LOCAL_RANK` (`torchrun`, or set by
    hand); `KERAS_DISTRIBUTION_PROCESS_ID` and
    `KERAS_DISTRIBUTION_NUM_PROCESSES`; what `srun` sets for the tasks of a
    step. The first process listens at `MASTER_ADDR` and `MASTER_PORT`, or at
    the first of `KERAS_DISTRIBUTION_JOB_ADDRESSES`.

    Returns:
        A `ProcessPlace`; of a process that is alone where none is set.

    Raises:
        ValueError: if there are several processes and no such address, or the
            numbers make no sense.

    Example:

    >>> keras_clmae.distribution.find_process().count
    1
    """
    names = _launcher()
    count = count_processes()
    if count == 1:
        return ProcessPlace()
    index_name, count_name, local_name = names
    index = _read_integer(index_name)
    if not 0 <= index < count:
        raise ValueError(
            f"The environment variable `{index_name}` must be an integer from "
            f"0 to {count_name} - 1. Received: {index_name}={index}, "
            f"{count_name}={count}"
        )
    local_index = 0
    if local_name is not None and local_name in os.environ:
        local_index = _read_integer(local_name)
    return ProcessPlace(index, count, local_index, _coordinator(count))


def count_processes():
    """Number of processes that a launcher started, as in `find_process`."""
    names = _launcher()
    return 1 if names is None else _read_integer(names[1])


def _launcher():
    for names in _LAUNCHERS:
        if names[0] in os.environ and names[1] in os.environ:
            return names
    return None


def _read_integer(name):
    try:
        return int(os.environ[name])
    except ValueError:
        raise ValueError(
            f"The environment variable `{name}` must be an integer. "
            f"Received: {name}={os.environ[name]!r}"
        ) from None


def _coordinator(count):
    if "MASTER_ADDR" in os.environ and "MASTER_PORT" in os.environ:
        return f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
    addresses = os.environ.get("KERAS_DISTRIBUTION_JOB_ADDRESSES")
    if addresses:
        return addresses.split(",")[0]
    raise ValueError(
        "The environment variables `MASTER_ADDR` and `MASTER_PORT` must hold "
        f"the address of the first of {count} processes; the launch scripts "
        "set them. Received: MASTER_ADDR="
        f"{os.environ.get('MASTER_ADDR')!r}, "
        f"MASTER_PORT={os.environ.get('MASTER_PORT')!r}"
    )
