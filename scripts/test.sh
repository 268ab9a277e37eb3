#!/usr/bin/env bash
# Lint, then run the tests on all backends at the same time:
#   bash scripts/test.sh               all three backends
#   bash scripts/test.sh jax           one
#   bash scripts/test.sh torch -k knn  one, with arguments for pytest
#   bash scripts/test.sh -k knn        all three, with arguments for pytest
# WORKERS is the number of processes per backend. The default is a third of the
# cores, or all cores if one backend runs alone.
set -uo pipefail
cd "$(dirname "$0")/.."
one=
case ${1:-} in
    jax | torch | tensorflow)
        one=$1
        shift
        ;;
esac
export TF_CPP_MIN_LOG_LEVEL=${TF_CPP_MIN_LOG_LEVEL:-3}
# Waiting threads of PyTorch would take cores from the other processes.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
set -e
# shellcheck source=scripts/environment.sh
source scripts/environment.sh
# Install all three: some tests start a process on another backend.
install test,lint,docs,cli,evaluation,data,sources torch jax tensorflow
set +e
bin=.venv/bin
cores=$($bin/python -c 'import os; print(len(os.sched_getaffinity(0)))')
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT

# check NAME COMMAND...: runs the command and adds its result to the summary.
failed=0
summary=()
check() {
    local name=$1
    shift
    if "$@"; then summary+=("$(printf '%-11s clean' "$name")"); else
        summary+=("$(printf '%-11s FAILED' "$name")")
        failed=1
    fi
}

# session NAME BACKEND ARGUMENT...: runs pytest, shows its progress, and keeps its
# output in $logs.
session() {
    local name=$1 backend=$2 start=$SECONDS
    shift 2
    KERAS_BACKEND=$backend $bin/python -m pytest --quiet "$@" 2>&1 |
        tee "$logs/$name" |
        grep --line-buffered '[0-9]%\]$' | sed -u "s/^/$name: /"
    echo "${PIPESTATUS[0]} $((SECONDS - start))" >"$logs/$name.status"
}

# report NAME: prints the output of a session, without its progress lines.
report() {
    local status=1 seconds=0 closing
    read -r status seconds <"$logs/$1.status"
    echo "== $1"
    grep -v '[0-9]%\]$' "$logs/$1"
    closing=$(grep -E '(passed|failed|errors?|deselected|no tests ran).* in [0-9.]+s' "$logs/$1" |
        tail -n 1 | tr -d '=')
    # 5: the arguments select no test of this session.
    case $status in
        0) found=1 ;;
        5) ;;
        *) failed=1 ;;
    esac
    summary+=("$(printf '%-11s %s, %d.%d minutes' "$1" \
        "${closing:-ended with status $status}" $((seconds / 60)) $((seconds % 60 / 6)))")
}

check ruff bash -c "$bin/ruff check . && $bin/ruff format --check --quiet ."
check spelling $bin/codespell
start=$SECONDS
if [ -n "$one" ]; then
    names=("$one")
    session "$one" "$one" --numprocesses "${WORKERS:-$((cores < 8 ? cores : 8))}" \
        --dist worksteal "$@"
else
    # Three sessions share the cores, which so stay busy whichever takes longest.
    # The two quickest follow each other: all three then end at about one time.
    names=(jax tensorflow torch once)
    workers=${WORKERS:-$((cores / 3))}
    spread=()
    [ "$workers" -le 1 ] || spread=(--numprocesses "$workers" --dist worksteal)
    session jax jax "${spread[@]}" -m "not once" "$@" &
    session once torch "${spread[@]}" -m once "$@" &
    {
        session torch torch "${spread[@]}" -m "not once" "$@"
        session tensorflow tensorflow "${spread[@]}" -m "not once" "$@"
    } &
    wait
fi
found=0
for name in "${names[@]}"; do report "$name"; done
[ "$found" -eq 1 ] || failed=1
minutes=$(((SECONDS - start) / 60))
echo
echo "Summary, tests in $minutes minutes on $cores cores"
printf '  %s\n' "${summary[@]}"
exit $failed
