"""Collects scores of several runs into one Markdown table.

python scripts/report.py runs --output report.md
"""

import argparse
import os
import sys


def main(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "paths",
        nargs="+",
        help="JSON files of knn.py, linear_probe.py and finetune.py,\n"
        "or folders in which to look for them.",
    )
    parser.add_argument("--output", help="Markdown file to write as well.")
    options = parser.parse_args(arguments)
    os.environ.setdefault("KERAS_BACKEND", "jax")
    from keras_clmae import evaluation

    try:
        records = evaluation.read_records(options.paths)
        table = evaluation.markdown_table(records)
    except ValueError as error:
        sys.exit(f"error: {error}")
    print(table)
    if options.output:
        with open(options.output, "w", encoding="utf-8") as file:
            file.write(table + "\n")


if __name__ == "__main__":
    main()
