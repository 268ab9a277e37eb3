"""Timings, one subcommand each.

python scripts/benchmark.py data photographs
"""

from benchmark_data import data
from jsonargparse import auto_cli

if __name__ == "__main__":
    auto_cli({"data": data}, as_positional=True)
