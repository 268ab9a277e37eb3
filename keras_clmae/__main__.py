"""Run the command as `python -m keras_clmae`."""

import sys

from keras_clmae.cli import main

if __name__ == "__main__":
    sys.exit(main())
