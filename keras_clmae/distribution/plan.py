"""Set a program up on several devices."""

import gc
from typing import NamedTuple

import keras

from keras_clmae.argument_validation import check_choice
from keras_clmae.argument_validation import check_positive_integer
from keras_clmae.distribution import engine
from keras_clmae.distribution.processes import launched_process
from keras_clmae.distribution.processes import launched_world_size


class DistributionPlan(NamedTuple):
    """Devices and processes that `setup` arranged.

    Attributes:
        strategy: `"none"`, `"data"` or `"model"`.
        process_index: int. Number of this process, 0 first.
        process_count: int. Processes of the run.
        num_devices: int. Devices that train, of all processes together.
        num_batch_shards: int. Shards that a batch is split into; the global
            batch size must be a multiple of it.
        model_devices: int. Devices that hold one copy of the weights together.
    """

    strategy: str = "none"
    process_index: int = 0
    process_count: int = 1
    num_devices: int = 1
    num_batch_shards: int = 1
    model_devices: int = 1

    @property
    def is_over_jax_processes(self):
        """True if every process must take part when the model is read."""
        return engine.READS_MODEL_TOGETHER and self.process_count > 1

    def local_batch_size(self, batch_size):
        """The batch size of this process's data set.

        Args:
            batch_size: int. Images in a step, on all devices together.

        Returns:
            int.

        Raises:
            ValueError: If the images do not split evenly.

        Example:

        >>> keras_clmae.distribution.current_plan().local_batch_size(32)
        32
        """
        check_positive_integer("batch_size", batch_size)
        if batch_size % self.num_batch_shards:
            raise ValueError(
                "`batch_size` must be a multiple of the number of devices that "
                f"share a batch, {self.num_batch_shards}. "
                f"Received: batch_size={batch_size}"
            )
        if engine.DATASET_YIELDS_GLOBAL_BATCH:
            return batch_size
        return batch_size // self.process_count


# What `setup` arranged is of the process, as the backend's own state behind it:
# strategy, mesh or process group. So is this, which only `setup` writes.
_plan = DistributionPlan()


def setup(
    strategy="auto",
    model_devices=None,
    simulated_devices=None,
    multi_host=False,
):
    """Puts this program on all devices; call it before the model is made.

    The engine is the backend's own. JAX: `keras.distribution`, one process for
    all devices of a host. TensorFlow: `MirroredStrategy`, `TPUStrategy`, or
    `MultiWorkerMirroredStrategy` where the environment variable `TF_CONFIG`
    names several workers. PyTorch: `torch.distributed`, one process per device,
    started by `torchrun`, `srun` or by hand; see `launched_process`.

    Training is equivalent to one device: the weights move as if it had computed
    the whole batch. See docs/many_devices.md.

    Args:
        strategy: `"data"`: every device has all weights and computes a part of
            each batch. `"model"` (JAX only): attention heads, MLPs and the
            masking module's head are split over `model_devices` devices, and
            the batch over such groups. `"none"`: nothing is set up. `"auto"`:
            `"data"` where there are several devices or processes, or else
            `"none"`. Defaults to `"auto"`.
        model_devices: int, for `"model"`: devices that hold one copy of the
            weights together. It must divide the devices of a process. Defaults
            to `None`: all devices of a process.
        simulated_devices: int. Splits the CPU into so many devices, to try
            things out (JAX and TensorFlow). Defaults to `None`.
        multi_host: bool. Whether JAX is to ask its runtime for the other hosts
            (Cloud TPU) instead of the environment. Defaults to `False`.

    Returns:
        A `DistributionPlan`.

    Raises:
        RuntimeError: If it comes too late: a Keras variable exists, or the
            backend has computed something and cannot be set up any more.
        ValueError: If the backend does not have the strategy,
            `model_devices` does not fit, or the strategy is `"none"` where a
            launcher started several processes.

    Example:

    >>> keras_clmae.distribution.setup("none").num_devices
    1
    """
    global _plan
    check_choice("strategy", strategy, ("auto", "none", "data", "model"))
    if strategy == "model" and not engine.SPLITS_MODELS:
        raise ValueError(
            '`strategy="model"` needs the JAX backend. '
            f"Received: KERAS_BACKEND={keras.config.backend()!r}"
        )
    if model_devices is not None:
        check_positive_integer("model_devices", model_devices)
        if strategy != "model":
            raise ValueError(
                '`model_devices` is for `strategy="model"`. Received: '
                f"model_devices={model_devices}, strategy={strategy!r}"
            )
    if strategy == "none":
        _refuse_several_processes(multi_host)
        _plan = DistributionPlan()
        return _plan
    process = launched_process()
    if simulated_devices is not None:
        check_positive_integer("simulated_devices", simulated_devices)
        _check_in_time()
        engine.simulate_devices(simulated_devices)
    if process.world_size > 1 or multi_host:
        _check_in_time()
        engine.start_processes(process, multi_host)
    rank, world_size = engine.rank_and_world_size()
    if strategy == "auto":
        # Not asked where there are several processes: on TensorFlow a list of
        # the devices before the strategy is made makes it impossible.
        several = world_size > 1 or engine.num_devices() > 1
        strategy = "data" if several else "none"
    if strategy == "none":
        _plan = DistributionPlan()
        return _plan
    _check_in_time()
    shards = engine.start(strategy, model_devices)
    num_devices = max(engine.num_devices(), shards)
    _plan = DistributionPlan(
        strategy=strategy,
        process_index=rank,
        process_count=world_size,
        num_devices=num_devices,
        num_batch_shards=shards,
        model_devices=num_devices // shards,
    )
    return _plan


def current_plan():
    """Returns what the last call of `setup` arranged; one device before any.

    Example:

    >>> keras_clmae.distribution.current_plan().process_count
    1
    """
    return _plan


def is_first_process():
    """Returns whether this process writes logs and checkpoints.

    Example:

    >>> keras_clmae.distribution.is_first_process()
    True
    """
    return _plan.process_index == 0


def _refuse_several_processes(multi_host):
    count = max(launched_world_size(), engine.configured_world_size())
    if count > 1 or multi_host:
        raise ValueError(
            '`strategy` must not be "none" in one of several processes: each '
            "would train a model of its own and write the files of all. Start "
            'one process, or take "data". '
            f'Received: strategy="none", {count} processes, '
            f"multi_host={multi_host}"
        )


def _check_in_time():
    variable = _any_variable()
    if variable is not None:
        gc.collect()
        variable = _any_variable()
    if variable is not None:
        raise RuntimeError(
            "`keras_clmae.distribution.setup` must be called before any model, "
            "layer, optimizer or metric is made: their variables stay where "
            f"they are. Found the Keras variable {variable.path!r}"
        )


def _any_variable():
    # Over all objects of the process, which takes a tenth of a second, once:
    # Keras keeps no public list of the variables it made, and one made too
    # early would silently train on one device, whoever holds it.
    for thing in gc.get_objects():
        # Not `isinstance`, which some lazy objects answer by importing.
        if issubclass(type(thing), keras.Variable):
            return thing
    return None
