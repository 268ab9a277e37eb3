#!/usr/bin/env bash
# Pretrains on all devices of this host:
#   bash scripts/launch_multi_gpu.sh --config scripts/recipes/cifar10.yaml
# All arguments go to scripts/pretrain.py. JAX and TensorFlow use one process,
# PyTorch one a device, started by torchrun, which ends all when one fails.
#   KERAS_BACKEND  jax (default), tensorflow or torch
#   DEVICES        processes on PyTorch (default: the GPUs that nvidia-smi lists)
#   DRY_RUN=1      prints the command instead of running it
set -euo pipefail
here=$(dirname "$0")
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
command+=("$here/pretrain.py" "$@")

if [ -n "${DRY_RUN:-}" ]; then
    echo "KERAS_BACKEND=$KERAS_BACKEND ${command[*]}"
else
    exec "${command[@]}"
fi
