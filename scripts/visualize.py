"""Pictures to look at, one subcommand each.

python scripts/visualize.py augmentations folder:photographs out.png
"""

from jsonargparse import auto_cli
from visualize_augmentations import augmentations

if __name__ == "__main__":
    auto_cli({"augmentations": augmentations}, as_positional=True)
