"""Run TensorFlow under a `tf.distribute.Strategy`: a replica per device."""

import contextlib
import functools
import os

import tensorflow as tf

# Data sets give whole batches, of which each replica gets a part.
DATASET_YIELDS_GLOBAL_BATCH = True

SPLITS_MODELS = False

READS_MODEL_TOGETHER = False


def num_replicas():
    """Counts the replicas that run the calling step; 1 outside of a step."""
    context = tf.distribute.get_replica_context()
    return 1 if context is None else context.num_replicas_in_sync


def has_workers():
    """Tells whether the replicas are in several processes."""
    return isinstance(
        tf.distribute.get_strategy(), tf.distribute.MultiWorkerMirroredStrategy
    )


def replica_index():
    context = tf.distribute.get_replica_context()
    return tf.convert_to_tensor(context.replica_id_in_sync_group)


def gather_rows(values):
    """Gathers the rows of all replicas, in their order; no gradient."""
    return tf.distribute.get_replica_context().all_gather(values, axis=0)


def own_rows(values):
    """Takes the rows of a whole batch that belong to this replica.

    TensorFlow cuts a batch into consecutive parts.
    """
    count = num_replicas()
    if count == 1:
        return values
    share = tf.shape(values)[0] // count
    return values[replica_index() * share :][:share]


def order_by_share(values, share):
    """Moves the first images of the whole batch in front of each part.

    A replica holds consecutive images, so those that one device would take
    first are all on the first replicas; each gets an equal part of them.

    Returns:
        The rows in their new order, and the number of the first ones.
    """
    rows, count = tf.shape(values)[0], num_replicas()
    if values.shape[0] is not None:
        first = round(share * values.shape[0])
    else:
        first = tf.cast(tf.round(share * tf.cast(rows, "float32")), "int32")
    if count == 1:
        return values, first
    everything = gather_rows(values)
    parts = [everything[: first * count], everything[first * count :]]
    ordered = tf.concat([own_rows(part) for part in parts], axis=0)
    # Gathering forgets what is known of the shape.
    return tf.ensure_shape(ordered, values.shape), first


def spread_rows(values):
    """Returns the rows as they are: every replica has its part."""
    return values


def mean_over_replicas(tensors):
    """Averages a list of tensors, of which some may be `None`."""
    if num_replicas() == 1:
        return tensors
    present = [tensor for tensor in tensors if tensor is not None]
    averaged = iter(
        tf.distribute.get_replica_context().all_reduce(
            tf.distribute.ReduceOp.MEAN, present
        )
    )
    return [None if t is None else next(averaged) for t in tensors]


def in_any_process(happened):
    """Tells whether a condition holds in any process; all must ask."""
    if not has_workers():
        return happened
    strategy = tf.distribute.get_strategy()
    total = _summing(strategy)(tf.constant(float(happened)))
    return bool(strategy.experimental_local_results(total)[0] > 0.0)


@functools.cache
def _summing(strategy):
    def sum_over_replicas(value):
        # An argument has no device, by which TensorFlow knows the replica.
        return tf.distribute.get_replica_context().all_reduce(
            tf.distribute.ReduceOp.SUM, tf.identity(value)
        )

    return tf.function(
        lambda value: strategy.run(sum_over_replicas, args=(value,))
    )


def start_processes(process, multi_host):
    if process.world_size > 1 and "TF_CONFIG" not in os.environ:
        raise ValueError(
            "Several processes on TensorFlow need the environment variable "
            "`TF_CONFIG` with the addresses of all of them "
            "(https://www.tensorflow.org/guide/distributed_training). "
            f"Received: process {process.rank} of {process.world_size} "
            "without it"
        )


@contextlib.contextmanager
def readable(variables):
    """Leaves the scope of workers; each of them holds all weights.

    Keras makes an optimizer when it first saves one, to know its attributes,
    and in the scope it takes all workers to make a variable.
    """
    strategy = tf.distribute.get_strategy() if has_workers() else None
    if strategy is not None:
        tf.distribute.experimental_set_strategy(None)
    try:
        yield
    finally:
        if strategy is not None:
            tf.distribute.experimental_set_strategy(strategy)


def simulate_devices(count):
    """Splits the CPU into `count` devices.

    Raises:
        RuntimeError: If something has been computed already.
    """
    cpu = tf.config.list_physical_devices("CPU")[0]
    try:
        tf.config.set_logical_device_configuration(
            cpu, [tf.config.LogicalDeviceConfiguration()] * count
        )
    except RuntimeError as error:
        raise RuntimeError(
            "`keras_clmae.distribution.setup` must be called before anything "
            f"is computed on TensorFlow, which says: {error}"
        ) from error


def rank_and_world_size():
    """Returns (rank, world size) of this process, as `TF_CONFIG` gives it."""
    resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver()
    cluster = resolver.cluster_spec().as_dict()
    chiefs = len(cluster.get("chief", []))
    count = chiefs + len(cluster.get("worker", []))
    if count < 2:
        return 0, 1
    before = 0 if resolver.task_type == "chief" else chiefs
    return before + resolver.task_id, count


def configured_world_size():
    """Returns the number of workers that `TF_CONFIG` names."""
    return rank_and_world_size()[1]


def _devices():
    for kind in ("TPU", "GPU", "CPU"):
        devices = tf.config.list_logical_devices(kind)
        if devices:
            return kind, [device.name for device in devices]
    raise RuntimeError("TensorFlow found no device.")


def num_devices():
    """Counts the devices of this process; excludes several workers later."""
    if tf.config.list_physical_devices("TPU"):
        return len(tf.config.list_physical_devices("TPU"))
    return len(_devices()[1])


def start(strategy, model_devices):
    """Enters the scope that all variables from now on belong to.

    Returns:
        Number of shards that a batch is split into.
    """
    if tf.config.list_physical_devices("TPU"):
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver("local")
        tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
        scope = tf.distribute.TPUStrategy(resolver)
    elif rank_and_world_size()[1] > 1:
        scope = tf.distribute.MultiWorkerMirroredStrategy()
    else:
        scope = tf.distribute.MirroredStrategy(_devices()[1])
    # For the rest of the program: models and optimizers are made in it.
    tf.distribute.experimental_set_strategy(scope)
    return scope.num_replicas_in_sync
