"""Timings, one subcommand each.

python scripts/benchmark.py data photographs
python scripts/benchmark.py knn
python scripts/benchmark.py step --reference path/to/cl-mae
python scripts/benchmark.py scaling
"""

from benchmark_data import data
from benchmark_knn import knn
from benchmark_scaling import scaling
from benchmark_step import step
from jsonargparse import auto_cli

if __name__ == "__main__":
    auto_cli(
        {"data": data, "knn": knn, "scaling": scaling, "step": step},
        as_positional=True,
    )
