#!/usr/bin/env bash
# Pretrains on all hosts of a Cloud TPU VM, with JAX; run it on your machine:
#   TPU_NAME=my-tpu ZONE=us-central2-b bash scripts/launch_tpu_vm.sh \
#       --config imagenet_base --run_dir gs-mounted/base
# All arguments go to `keras-clmae pretrain`. The repository must be in ~/keras_clmae
# on every host (FOLDER names another place), with its packages installed, and
# --run_dir on a file system that all hosts see.
#   TPU_NAME, ZONE  of the TPU VM; must be given
#   FOLDER          folder of the repository on the hosts
#   DRY_RUN=1       prints the command instead of running it
set -euo pipefail
: "${TPU_NAME:?must be the name of the TPU VM}" "${ZONE:?must be its zone}"

# The hosts find each other by what the TPU runtime tells JAX.
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
