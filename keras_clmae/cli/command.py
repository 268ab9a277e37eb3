"""Find the subcommand, and end every failure in one line.

Nothing here or in the subcommands imports Keras before the arguments are known
to be good.
"""

import contextlib
import importlib.util
import os
import re
import sys
import warnings

from keras_clmae.runs.suggestions import did_you_mean
from keras_clmae.version import __version__

USAGE, FAILURE, INTERRUPTED = 2, 1, 130

# Subcommand -> what it does, in one line. Each has a module with `main`.
SUBCOMMANDS = {
    "pretrain": "pretrain CL-MAE, or plain MAE, on images without labels",
    "finetune": "fine-tune an encoder with labels and score the classifier",
    "knn": "score an encoder by k-nearest-neighbor classification",
    "linear-probe": "score an encoder by a linear classifier on its features",
    "embed": "write the features of images to a file, with their names",
    "search": "show the images that are most like one, as a figure",
    "anomaly": "score images by their reconstruction error",
    "mask-statistics": "describe the masks that a run has learned",
    "study": "compare methods over seeds, from one file",
    "report": "collect scores of several runs into one table",
    "visualize": "draw masks, reconstructions, attention, curriculum",
    "export": "write the encoder of a run for serving or for other libraries",
    "convert": "convert weights from and to other libraries",
    "check-data": "find damaged images in a folder before a long run",
    "recipes": "list the recipes, or print one",
}

# An error of Python inside of `tf.data`, or a condition that does not hold.
_READER_ERROR = re.compile(
    r"(?:ValueError|OSError|FileNotFoundError): (.+)"
    r"|assertion failed: \[(`.+? Received:)\] (.+)"
)


class UsageError(Exception):
    """The arguments cannot be used as they are."""


def main():
    """Runs the command with the arguments of the process."""
    run(sys.argv[1:])


def run(arguments):
    """Runs the command.

    Args:
        arguments: list of str.

    Returns:
        What the subcommand made: the model, the record of scores, or `None`.

    Raises:
        SystemExit: with status 2 where the arguments are wrong, 1 where the
            work failed, and 130 where Ctrl-C ended it.
    """
    try:
        with _warnings_in_one_line():
            return _dispatch(list(arguments))
    except UsageError as error:
        _end(error, USAGE)
    except (ValueError, ImportError, OSError, FloatingPointError) as error:
        _end(error, FAILURE)
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        leave(INTERRUPTED)
    except Exception as error:
        message = _message_of_reader(error)
        if message is None:
            raise
        _end(message, FAILURE)


@contextlib.contextmanager
def _warnings_in_one_line():
    """Prints a warning of the user's data without the code that gives it."""
    before = warnings.formatwarning

    def one_line(message, category, *place, **line):
        if category is not UserWarning:
            return before(message, category, *place, **line)
        return f"warning: {' '.join(str(message).split())}\n"

    warnings.formatwarning = one_line
    try:
        yield
    finally:
        warnings.formatwarning = before


def _message_of_reader(error):
    """Finds what stopped `tf.data`, which wraps errors in pages of its own."""
    if not type(error).__module__.startswith("tensorflow."):
        return None
    found = _READER_ERROR.search(str(error))
    return found and (found[1] or f"{found[2]} {found[3]}")


def _dispatch(arguments):
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(_usage())
        return None
    if arguments[0] == "--version":
        print(__version__)
        return None
    name = arguments[0].replace("_", "-")
    if name not in SUBCOMMANDS:
        raise UsageError(
            f"the command must be one of {', '.join(SUBCOMMANDS)}. Received: "
            f"{arguments[0]!r}{did_you_mean(name, SUBCOMMANDS)}"
        )
    if importlib.util.find_spec("jsonargparse") is None:
        raise ImportError(
            'The command needs jsonargparse: pip install "keras-clmae[cli]"'
        )
    module = importlib.import_module(
        f"keras_clmae.cli.{name.replace('-', '_')}"
    )
    return module.main(arguments[1:])


def _usage():
    width = max(map(len, SUBCOMMANDS))
    lines = [
        "usage: keras-clmae COMMAND [ARGUMENTS]",
        "       keras-clmae COMMAND --help",
        "",
        "Curriculum-Learned Masked Autoencoders for Keras 3.",
        "",
        "commands:",
        *(f"  {name:{width}}  {text}" for name, text in SUBCOMMANDS.items()),
        "",
        "for example:",
        "  keras-clmae pretrain --config digits --run_dir runs/mine",
        "  keras-clmae knn runs/mine digits",
        "",
        "KERAS_BACKEND chooses jax, torch or tensorflow.",
    ]
    return "\n".join(lines)


def _end(error, status):
    message = " ".join(str(error).split()) or type(error).__name__
    print(f"error: {message}", file=sys.stderr)
    leave(status)


def leave(status):
    """Ends the program, from one process of several without waiting.

    Args:
        status: int. Exit status.
    """
    distribution = sys.modules.get("keras_clmae.distribution")
    if distribution and distribution.current_plan().process_count > 1:
        # An orderly end would wait for the others, which wait for this one.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)
