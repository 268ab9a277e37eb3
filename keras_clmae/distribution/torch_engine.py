"""Run PyTorch in one process per device, by `torch.distributed`."""

import atexit
import contextlib

import torch
import torch.distributed as dist

# As PyTorch's own DistributedDataParallel (its `bucket_cap_mb`, 25 MiB).
BUCKET_BYTES = 25 * 2**20

# Every process reads its own part of a batch.
DATASET_YIELDS_GLOBAL_BATCH = False

SPLITS_MODELS = False

READS_MODEL_TOGETHER = False

# Two states of the process, beside `torch.distributed`'s own. Whether a train
# step runs, which `replicated_step` alone writes:
_in_step = False

# The group in which processes tell each other what is not computed with, which
# `start_processes` makes: on the CPU, as on the device a question would wait
# for all steps before it.
_questions = None


def replicated_step():
    """Marks a train step, in which all processes make the same calls.

    Elsewhere a process computes alone: the first one draws pictures while the
    others wait.
    """
    return _mark() if num_processes() > 1 else contextlib.nullcontext()


@contextlib.contextmanager
def _mark():
    global _in_step
    before, _in_step = _in_step, True
    try:
        yield
    finally:
        _in_step = before


def num_processes():
    return dist.get_world_size() if dist.is_initialized() else 1


def num_replicas():
    """Counts the processes that run the calling step; 1 outside of a step."""
    return num_processes() if _in_step else 1


def replica_index():
    return torch.tensor(dist.get_rank())


def gather_rows(values):
    """Gathers the rows of all processes, in their order; no gradient."""
    values = values.detach().contiguous()
    parts = [torch.empty_like(values) for _ in range(num_processes())]
    dist.all_gather(parts, values)
    return torch.cat(parts)


def own_rows(values):
    """Takes the rows of a whole batch that belong to this process.

    The data sets of this package deal them out in turn.
    """
    count = num_replicas()
    return values if count == 1 else values[dist.get_rank() :: count]


def order_by_share(values, share):
    """Returns the rows as they are: dealt in turn, the first stay first.

    Returns:
        The rows as they are, and the number of the first ones.
    """
    return values, round(share * len(values))


def spread_rows(values):
    """Returns the rows as they are: every process has its part."""
    return values


def mean_over_replicas(tensors):
    """Averages a list of tensors over the processes, in flat buckets.

    Args:
        tensors: list of tensors, of which some may be `None`, the same ones in
            every process.

    Returns:
        List of tensors.
    """
    if num_replicas() == 1:
        return tensors
    averaged = list(tensors)
    pending = []
    for bucket in _buckets(tensors):
        flat = torch.cat([tensors[i].detach().reshape(-1) for i in bucket])
        pending.append((bucket, flat, dist.all_reduce(flat, async_op=True)))
    for bucket, flat, work in pending:
        work.wait()
        flat /= num_processes()
        sizes = [tensors[index].numel() for index in bucket]
        for index, part in zip(bucket, flat.split(sizes), strict=True):
            averaged[index] = part.view(tensors[index].shape)
    return averaged


def _buckets(tensors):
    """Groups neighboring tensors of one type, up to `BUCKET_BYTES` each."""
    bucket, size, dtype = [], 0, None
    for index, tensor in enumerate(tensors):
        if tensor is None:
            continue
        if bucket and (size >= BUCKET_BYTES or tensor.dtype != dtype):
            yield bucket
            bucket, size = [], 0
        bucket.append(index)
        size += tensor.nbytes
        dtype = tensor.dtype
    if bucket:
        yield bucket


def sum_over_processes(tensor):
    """Adds up a tensor of all processes."""
    total = tensor.detach().clone()
    dist.all_reduce(total)
    return total


def in_any_process(happened):
    """Tells whether a condition holds in any process; all must ask."""
    if num_processes() == 1:
        return happened
    flag = torch.tensor(float(happened))
    dist.all_reduce(flag, dist.ReduceOp.MAX, group=_questions)
    return bool(flag)


def broadcast(variables):
    """Gives all processes the values that the first one has.

    Args:
        variables: list of Keras variables.
    """
    if num_processes() == 1:
        return
    with torch.no_grad():
        for variable in variables:
            dist.broadcast(variable.value.data, src=0)


def start_processes(process, multi_host):
    """Joins the other processes."""
    global _questions
    if process.world_size == 1 or dist.is_initialized():
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(process.local_rank)
    address, port = process.coordinator.rsplit(":", 1)
    dist.init_process_group(
        "nccl" if torch.cuda.is_available() else "gloo",
        init_method=f"tcp://{address}:{port}",
        rank=process.rank,
        world_size=process.world_size,
    )
    _questions = dist.new_group(backend="gloo")
    atexit.register(_leave)


def _leave():
    if dist.is_initialized():
        dist.destroy_process_group()


def readable(variables):
    """Does nothing: every process holds all weights."""
    return contextlib.nullcontext()


def simulate_devices(count):
    raise ValueError(
        "`simulated_devices` is for JAX and TensorFlow. On PyTorch every "
        "device has a process of its own: `torchrun --nproc_per_node="
        f"{count}`. Received: simulated_devices={count}"
    )


def rank_and_world_size():
    """Returns (rank, world size) of this process."""
    if not dist.is_initialized():
        return 0, 1
    return dist.get_rank(), dist.get_world_size()


def configured_world_size():
    """Returns 1: launchers alone start processes."""
    return 1


def num_devices():
    """Counts the devices of all processes together: one each."""
    return num_processes()


def start(strategy, model_devices):
    return num_processes()
