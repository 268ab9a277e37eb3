"""Run JAX over all devices: one program, sharded by `keras.distribution`."""

import contextlib
import functools

import jax
import keras
import numpy as np
from jax.experimental import multihost_utils

# Every process reads its own part of a batch.
DATASET_YIELDS_GLOBAL_BATCH = False

SPLITS_MODELS = True

# The arrays of a model are of all processes, and so is what reads them.
READS_MODEL_TOGETHER = True

# A process that has not been heard of for so long is dead, and the others end.
# JAX waits for 100; they shall end within a minute.
HEARTBEAT_SECONDS = 30

# Weights of one transformer block, by the end of their path: which axis is
# split over the devices of a model. Heads and the hidden units of the MLP are
# computed apart; the second product of each pair adds the parts up
# (https://arxiv.org/abs/1909.08053). Of the masking module's class-token head,
# the scores are split.
_SPLIT_WEIGHTS = {
    r"(.*/)?attention/qkv_kernel": (None, None, "model", None),
    r"(.*/)?attention/qkv_bias": (None, "model", None),
    r"(.*/)?attention/projection/kernel": ("model", None),
    r"(.*/)?mlp_expand/kernel": (None, "model"),
    r"(.*/)?mlp_expand/bias": ("model",),
    r"(.*/)?mlp_contract/kernel": ("model", None),
    r"(.*/)?masking_module/score_head/kernel": (None, "model"),
    r"(.*/)?masking_module/score_head/bias": ("model",),
}


def num_replicas():
    return 1


def own_rows(values):
    """Orders the rows of a whole batch as the devices hold them.

    The data sets of this package deal the images out to the processes in turn;
    in the array of the batch those of a process stand together.
    """
    count = jax.process_count()
    rows, *others = values.shape
    if count == 1 or rows % count:
        return values
    dealt = values.reshape(rows // count, count, *others)
    return dealt.swapaxes(0, 1).reshape(values.shape)


def order_by_share(values, share):
    """Puts the first images of all processes in front.

    Returns:
        The rows in their new order, and the number of the first ones.
    """
    count, rows = jax.process_count(), values.shape[0]
    if count == 1 or rows % count:
        return values, round(share * rows)
    own = rows // count
    first = round(share * own)
    parts = values.reshape(count, own, *values.shape[1:])
    ordered = jax.numpy.concatenate(
        [
            part.reshape(-1, *values.shape[1:])
            for part in (parts[:, :first], parts[:, first:])
        ]
    )
    return spread_rows(ordered), count * first


def spread_rows(values):
    """Deals the rows out to the devices, where they divide evenly."""
    distribution = keras.distribution.distribution()
    if distribution is None:
        return values
    layout = distribution.get_data_layout(values.shape)
    sizes = dict(
        zip(
            distribution.device_mesh.axis_names,
            distribution.device_mesh.shape,
            strict=True,
        )
    )
    if values.shape[0] % sizes[layout.axes[0]]:
        return values
    return keras.distribution.distribute_tensor(values, layout)


def start_processes(process, multi_host):
    """Joins the other processes; must come before any computation.

    Raises:
        RuntimeError: If something has been computed already.
    """
    if process.world_size == 1 and not multi_host:
        return
    try:
        with _heartbeat():
            if multi_host:
                keras.distribution.initialize()
            else:
                keras.distribution.initialize(
                    process.coordinator, process.world_size, process.rank
                )
    except RuntimeError as error:
        if "before" not in str(error):
            raise
        raise RuntimeError(
            "`keras_clmae.distribution.setup` must be called before anything "
            f"is computed on JAX, which says: {error}"
        ) from error


@contextlib.contextmanager
def _heartbeat():
    # Keras hands no such argument on.
    initialize = jax.distributed.initialize
    jax.distributed.initialize = functools.partial(
        initialize, heartbeat_timeout_seconds=HEARTBEAT_SECONDS
    )
    try:
        yield
    finally:
        jax.distributed.initialize = initialize


def must_stop_together(asked):
    """Tells whether a process received SIGTERM and all stop at this step.

    With several processes JAX takes SIGTERM for a notice of pre-emption and
    does nothing but tell the others, which agree on a place.

    Args:
        asked: int. Number of this question, 1 first, the same in all processes
            at the same place of the training.
    """
    return multihost_utils.reached_preemption_sync_point(asked)


def in_any_process(happened):
    """Returns one process's condition; several use `must_stop_together`."""
    return happened


@contextlib.contextmanager
def readable(variables):
    """Makes variables that are split over processes readable as arrays."""
    split = [
        (variable, variable.value)
        for variable in variables
        if not variable.value.is_fully_addressable
        and not variable.value.is_fully_replicated
    ]
    try:
        for variable, value in split:
            variable._value = _from_own_parts(value)
        yield
    finally:
        for variable, value in split:
            variable._value = value


def _from_own_parts(value):
    # The devices of a copy of the model are all of one process: see `start`.
    whole = np.empty(value.shape, value.dtype)
    for shard in value.addressable_shards:
        whole[shard.index] = np.asarray(shard.data)
    return whole


def simulate_devices(count):
    """Splits the CPU into `count` devices.

    Raises:
        RuntimeError: If something has been computed already.
    """
    try:
        jax.config.update("jax_platforms", "cpu")
        jax.config.update("jax_num_cpu_devices", count)
    except RuntimeError as error:
        raise RuntimeError(
            "`keras_clmae.distribution.setup` must be called before anything "
            f"is computed on JAX, which says: {error}"
        ) from error


def rank_and_world_size():
    """Returns (rank, world size) of this process."""
    return jax.process_index(), jax.process_count()


def configured_world_size():
    """Returns 1: JAX's runtime is asked by `multi_host` alone."""
    return 1


def num_devices():
    """Counts the devices of all processes together."""
    return jax.device_count()


def start(strategy, model_devices):
    """Makes the distribution that all variables from now on follow.

    Returns:
        Number of shards that a batch is split into.

    Raises:
        ValueError: If `model_devices` does not divide the number of devices.
    """
    devices = jax.device_count()
    if strategy == "data":
        # The data sets of this package read their own part in each process.
        distribution = keras.distribution.DataParallel(auto_shard_dataset=False)
        keras.distribution.set_distribution(distribution)
        return devices
    local = jax.local_device_count()
    model_devices = local if model_devices is None else model_devices
    if local % model_devices:
        raise ValueError(
            "`model_devices` must divide the number of devices of a process, "
            f"{local}. Received: model_devices={model_devices}"
        )
    mesh = keras.distribution.DeviceMesh(
        (devices // model_devices, model_devices),
        ("batch", "model"),
        np.array(keras.distribution.list_devices()),
    )
    keras.distribution.set_distribution(_ModelParallel(mesh))
    return devices // model_devices


class _ModelParallel(keras.distribution.ModelParallel):
    """Splits heads, MLPs and the masking module's head over a mesh."""

    def __init__(self, mesh):
        layout_map = keras.distribution.LayoutMap(mesh)
        for path, axes in _SPLIT_WEIGHTS.items():
            layout_map[path] = axes
        super().__init__(
            layout_map=layout_map,
            batch_dim_name="batch",
            auto_shard_dataset=False,
        )

    def get_variable_layout(self, variable):
        layout = super().get_variable_layout(variable)
        model_devices = self.device_mesh.shape[1]
        for axis, (name, size) in enumerate(
            zip(layout.axes, variable.shape, strict=True)
        ):
            if name == "model" and size % model_devices:
                raise ValueError(
                    "`model_devices` must divide the heads, the hidden units "
                    "of the MLP and the tokens of the masking module's head. "
                    f"Received: model_devices={model_devices} for axis {axis} "
                    f"of {variable.path!r}, of shape {tuple(variable.shape)}"
                )
        return layout
