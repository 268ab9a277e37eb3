#!/usr/bin/env bash
# Lints, then runs the tests on every backend, each in its own process:
#   bash scripts/test.sh               all three
#   bash scripts/test.sh jax           one
#   bash scripts/test.sh torch -k knn  one, with arguments for pytest
# A worker a core (set WORKERS for another number), each computing on one thread.
set -uo pipefail
cd "$(dirname "$0")/.."
backends=(torch jax tensorflow)
case ${1:-} in
    jax | torch | tensorflow)
        backends=("$1")
        shift
        ;;
esac
export TF_CPP_MIN_LOG_LEVEL=${TF_CPP_MIN_LOG_LEVEL:-3}
# PyTorch's waiting threads would take the cores from the other workers.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
set -e
source scripts/environment.sh
# All three: some tests start a process on another backend.
install test,lint,docs,cli,evaluation,data,sources torch jax tensorflow
set +e
workers=${WORKERS:-$(.venv/bin/python -c 'import os; print(min(len(os.sched_getaffinity(0)), 8))')}

failed=0
summary=()
.venv/bin/ruff check . && .venv/bin/ruff format --check --quiet .
if [ $? -eq 0 ]; then summary+=("ruff        clean"); else
    summary+=("ruff        FAILED")
    failed=1
fi
for backend in "${backends[@]}"; do
    echo "== $backend"
    log=$(mktemp)
    KERAS_BACKEND=$backend .venv/bin/python -m pytest \
        --numprocesses "$workers" --dist loadfile --quiet "$@" 2>&1 | tee "$log"
    status=${PIPESTATUS[0]}
    result=$(grep -E '^=+ .*(passed|failed|error|no tests ran).* =+$|^[0-9]+ (passed|failed)' "$log" | tail -n 1 | tr -d '=')
    rm -f "$log"
    [ "$status" -eq 0 ] || failed=1
    summary+=("$(printf '%-11s %s' "$backend" "${result:-ended with status $status}")")
done
echo
echo "Summary"
printf '  %s\n' "${summary[@]}"
exit $failed
