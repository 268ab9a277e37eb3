"""End the program where a training was stopped, and say how to go on."""

import contextlib
import os
import signal
import sys
import traceback

from keras_clmae.cli.command import FAILURE
from keras_clmae.cli.command import INTERRUPTED
from keras_clmae.cli.command import leave


@contextlib.contextmanager
def interruptible(go_on, has_state):
    """Ends the program where the training in the block is interrupted.

    The package must be loaded.

    Args:
        go_on: str. The command that goes on.
        has_state: function that tells whether there is anything to go on with.

    Raises:
        SystemExit: after SIGTERM or Ctrl-C.
    """
    from keras_clmae import distribution
    from keras_clmae.callbacks import TrainingInterrupted
    from keras_clmae.distribution.leaving import leave_jax_processes

    try:
        yield
    except TrainingInterrupted as interruption:
        print(f"{interruption}. Go on with: {go_on}", file=sys.stderr)
        status = 128 + getattr(interruption, "signal", signal.SIGTERM)
        leave_jax_processes()
        # Nor shall it wait for them at its end.
        leave(status)
    except KeyboardInterrupt:
        ending = f" Go on with: {go_on}" if has_state() else ""
        print(f"Interrupted.{ending}", file=sys.stderr)
        # Whatever still runs in the background.
        sys.stderr.flush()
        os._exit(INTERRUPTED)
    except (ValueError, ImportError, OSError, FloatingPointError):
        raise
    except Exception:
        if distribution.current_plan().process_count == 1:
            raise
        traceback.print_exc()
        leave(FAILURE)
