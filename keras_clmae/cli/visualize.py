"""Pictures to look at, one subcommand each.

python scripts/visualize.py masks runs/digits
python scripts/visualize.py animation runs/digits
python scripts/visualize.py reconstructions runs/digits
python scripts/visualize.py curriculum runs/digits
python scripts/visualize.py attention runs/digits
python scripts/visualize.py augmentations folder:photographs out.png
"""

import os
import sys

from jsonargparse import auto_cli
from visualize_augmentations import augmentations
from visualize_runs import animation
from visualize_runs import attention
from visualize_runs import curriculum
from visualize_runs import masks
from visualize_runs import reconstructions

COMMANDS = (
    masks,
    animation,
    reconstructions,
    curriculum,
    attention,
    augmentations,
)


def main(arguments=None):
    os.environ.setdefault("KERAS_BACKEND", "jax")
    commands = {command.__name__: command for command in COMMANDS}
    try:
        auto_cli(commands, args=arguments, as_positional=True)
    except (ValueError, ImportError, OSError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
