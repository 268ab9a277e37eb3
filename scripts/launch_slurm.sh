#!/usr/bin/env bash
# Pretrain under Slurm, and resume after preemption until the run is done:
#   sbatch --nodes=2 --gpus-per-node=8 scripts/launch_slurm.sh \
#       --config imagenet_base --run_dir runs/base
# All arguments go to `keras-clmae pretrain`. --run_dir must be among them, on a
# file system that all nodes see. JAX uses one process per node, PyTorch one per
# GPU. (TensorFlow on several nodes needs TF_CONFIG; see docs/many_devices.md.)
# Slurm sends SIGTERM two minutes before it ends the job. The run then saves its
# state and exits with 143, and the job is queued again to resume.
#   KERAS_BACKEND  jax (default) or torch
#   DRY_RUN=1      prints the command instead of running it
#SBATCH --job-name=keras-clmae
#SBATCH --signal=TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append
set -euo pipefail
export KERAS_BACKEND=${KERAS_BACKEND:-jax}

run_dir=
arguments=("$@")
for index in "${!arguments[@]}"; do
    case ${arguments[index]} in
        --run_dir=*) run_dir=${arguments[index]#--run_dir=} ;;
        --run_dir) run_dir=${arguments[index + 1]:-} ;;
    esac
done
if [ -z "$run_dir" ]; then
    echo "error: --run_dir must be given: a resumed job has to find its run." >&2
    exit 2
fi
if [ -f "$run_dir/config.yaml" ]; then
    arguments=("--run_dir=$run_dir" --resume)
fi

if [ "$KERAS_BACKEND" = torch ]; then
    tasks_per_node=${SLURM_GPUS_ON_NODE:-1}
else
    tasks_per_node=1
fi
nodes=${SLURM_JOB_NODELIST:-localhost}
if command -v scontrol >/dev/null; then
    nodes=$(scontrol show hostnames "$nodes")
fi
MASTER_ADDR=$(head -n 1 <<<"$nodes")
# Jobs that share a node need different ports; the job number gives one.
MASTER_PORT=$((20000 + ${SLURM_JOB_ID:-0} % 20000))
export MASTER_ADDR MASTER_PORT

# --kill-on-bad-exit ends all processes when one fails.
command=(srun "--ntasks-per-node=$tasks_per_node" --kill-on-bad-exit=1
    "${PYTHON:-python}" -m keras_clmae pretrain "${arguments[@]}")
if [ -n "${DRY_RUN:-}" ]; then
    echo "KERAS_BACKEND=$KERAS_BACKEND MASTER_ADDR=$MASTER_ADDR" \
        "MASTER_PORT=$MASTER_PORT ${command[*]}"
    exit 0
fi
status=0
"${command[@]}" || status=$?
if [ "$status" -eq 143 ]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
