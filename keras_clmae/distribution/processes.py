"""Read rank and world size from the launcher's environment."""

import os
from typing import NamedTuple


class LaunchedProcess(NamedTuple):
    """This process among those that a launcher started.

    Attributes:
        rank: int., from 0 to `world_size - 1`.
        world_size: int. Processes of the run.
        local_rank: int. Number of this process on its host.
        coordinator: str. `"address:port"` of the first process, or `None` for a
            process that is alone.
    """

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0
    coordinator: str | None = None


# Names of rank, world size and local rank. `torchrun` sets the first three; the
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


def launched_process():
    """Reads rank and world size of this process from the environment.

    In this order: `RANK`, `WORLD_SIZE` and `LOCAL_RANK` (`torchrun`, or set by
    hand); `KERAS_DISTRIBUTION_PROCESS_ID` and
    `KERAS_DISTRIBUTION_NUM_PROCESSES`; what `srun` sets for the tasks of a
    step. The first process listens at `MASTER_ADDR` and `MASTER_PORT`, or at
    the first of `KERAS_DISTRIBUTION_JOB_ADDRESSES`.

    Returns:
        A `LaunchedProcess`; rank 0 of 1 where none of these is set.

    Raises:
        ValueError: If there are several processes and no such address, or the
            numbers make no sense.

    Example:

    >>> keras_clmae.distribution.launched_process().world_size
    1
    """
    names = _launcher()
    world_size = launched_world_size()
    if world_size == 1:
        return LaunchedProcess()
    rank_name, size_name, local_name = names
    rank = _read_integer(rank_name)
    if not 0 <= rank < world_size:
        raise ValueError(
            f"The environment variable `{rank_name}` must be an integer from "
            f"0 to {size_name} - 1. Received: {rank_name}={rank}, "
            f"{size_name}={world_size}"
        )
    local_rank = 0
    if local_name is not None and local_name in os.environ:
        local_rank = _read_integer(local_name)
    coordinator = _coordinator(world_size)
    return LaunchedProcess(rank, world_size, local_rank, coordinator)


def launched_world_size():
    """Reads the number of processes alone; see `launched_process`."""
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


def _coordinator(world_size):
    if "MASTER_ADDR" in os.environ and "MASTER_PORT" in os.environ:
        return f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
    addresses = os.environ.get("KERAS_DISTRIBUTION_JOB_ADDRESSES")
    if addresses:
        return addresses.split(",")[0]
    raise ValueError(
        "The environment variables `MASTER_ADDR` and `MASTER_PORT` must hold "
        f"the address of the first of {world_size} processes; the launch "
        "scripts set them. Received: MASTER_ADDR="
        f"{os.environ.get('MASTER_ADDR')!r}, "
        f"MASTER_PORT={os.environ.get('MASTER_PORT')!r}"
    )
