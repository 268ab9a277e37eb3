# shellcheck shell=bash
# Create .venv and install into it. demo.sh and test.sh source this file.

# install EXTRAS BACKEND...: installs the package with EXTRAS and these backends.
install() {
    local extras=$1 python=${PYTHON:-python3}
    shift
    if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
        echo "error: Python 3.11 or newer is needed; set PYTHON to one." >&2
        exit 1
    fi
    if [ ! -x .venv/bin/python ]; then
        echo "Making .venv"
        "$python" -m venv .venv || {
            rm -rf .venv
            echo "error: 'python -m venv' failed (Debian: apt install python3-venv)." >&2
            exit 1
        }
    fi
    local pip=(.venv/bin/python -m pip install --quiet --disable-pip-version-check
        --constraint constraints.txt)
    echo "Installing the package and $*"
    # PyTorch first, at its pinned version, so that nothing installs another one.
    for backend in "$@"; do
        if [ "$backend" = torch ]; then
            "${pip[@]}" "$(grep '^torch==' constraints.txt)"
        fi
    done
    local list="$extras"
    for backend in "$@"; do list="$list,$backend"; done
    "${pip[@]}" --editable ".[$list]"
}
