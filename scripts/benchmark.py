"""Timings, one subcommand each.

python scripts/benchmark.py data photographs
python scripts/benchmark.py knn
python scripts/benchmark.py step --reference path/to/cl-mae
python scripts/benchmark.py step --quick
python scripts/benchmark.py scaling
"""

import importlib
import sys

from jsonargparse import auto_cli

COMMANDS = ("data", "knn", "scaling", "step")

if __name__ == "__main__":
    # A flag alone is no value of a `bool` for the parser.
    sys.argv[1:] = [
        "--quick=true" if word == "--quick" else word for word in sys.argv[1:]
    ]
    # Only `data` needs TensorFlow, and `step` imports no backend at all.
    named = [word for word in sys.argv[1:2] if word in COMMANDS]
    auto_cli(
        {
            name: getattr(importlib.import_module(f"benchmark_{name}"), name)
            for name in named or COMMANDS
        },
        as_positional=True,
    )
