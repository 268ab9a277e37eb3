#!/usr/bin/env bash
# Pretrain CL-MAE and MAE on 1,438 scans of handwritten digits: minutes on two CPU
# cores. It downloads packages only.
#   KERAS_BACKEND  jax (default), torch or tensorflow
set -euo pipefail
cd "$(dirname "$0")/.."
export KERAS_BACKEND=${KERAS_BACKEND:-jax} TF_CPP_MIN_LOG_LEVEL=${TF_CPP_MIN_LOG_LEVEL:-3}
# Matrices this small are slower on several threads of PyTorch, and far slower
# where other programs run.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
case $KERAS_BACKEND in
    jax | torch | tensorflow) ;;
    *)
        echo "error: KERAS_BACKEND must be jax, torch or tensorflow, not '$KERAS_BACKEND'." >&2
        exit 1
        ;;
esac
source scripts/environment.sh
install cli "$KERAS_BACKEND"
exec .venv/bin/python scripts/demo.py "$@"
