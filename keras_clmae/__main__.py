"""Run the command as `python -m keras_clmae`."""

from keras_clmae.cli import main

if __name__ == "__main__":
    main()
