#!/usr/bin/env bash
# Pretrain on all devices of this host:
#   bash scripts/launch_multi_gpu.sh --config cifar10
# All arguments go to `keras-clmae pretrain`. JAX and TensorFlow use one process.
# PyTorch uses one per device; torchrun starts them and ends all when one fails.
#   KERAS_BACKEND  jax (default), tensorflow or torch
#   DEVICES        processes on PyTorch (default: number of GPUs in nvidia-smi)
#   DRY_RUN=1      prints the command instead of running it
set -euo pipefail
export KERAS_BACKEND=${KERAS_BACKEND:-jax}

count_gpus() {
    local listed
    listed=$(nvidia-smi --list-gpus 2>/dev/null | wc -l) || listed=0
    echo $((listed > 0 ? listed : 1))
}

if [ "$KERAS_BACKEND" = torch ]; then
    command=(torchrun --standalone "--nproc_per_node=${DEVICES:-$(count_gpus)}")
else
    command=("${PYTHON:-python}")
fi
command+=(-m keras_clmae pretrain "$@")

if [ -n "${DRY_RUN:-}" ]; then
    echo "KERAS_BACKEND=$KERAS_BACKEND ${command[*]}"
else
    exec "${command[@]}"
fi
