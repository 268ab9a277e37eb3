#!/usr/bin/env bash
# Pretrain with JAX on all hosts of a Cloud TPU VM. Run this on your machine:
#   TPU_NAME=my-tpu ZONE=us-central2-b bash scripts/launch_tpu_vm.sh \
#       --config imagenet_base --run_dir gs-mounted/base
# All arguments go to `keras-clmae pretrain`. On every host the repository must be
# in ~/keras_clmae (or FOLDER), with its packages installed. --run_dir must be on a
# file system that all hosts see.
#   TPU_NAME, ZONE  name and zone of the TPU VM; required
#   FOLDER          folder of the repository on the hosts
#   DRY_RUN=1       prints the command instead of running it
set -euo pipefail
: "${TPU_NAME:?must be the name of the TPU VM}" "${ZONE:?must be its zone}"

# With --multi_host, JAX asks the TPU runtime for the other hosts.
remote="cd ${FOLDER:-keras_clmae} && KERAS_BACKEND=jax python -m keras_clmae pretrain"
remote+=" --multi_host=true$(printf ' %q' "$@")"
command=(gcloud compute tpus tpu-vm ssh "$TPU_NAME" "--zone=$ZONE"
    --worker=all "--command=$remote")

if [ -n "${DRY_RUN:-}" ]; then
    printf '%q ' "${command[@]}"
    echo
else
    exec "${command[@]}"
fi
