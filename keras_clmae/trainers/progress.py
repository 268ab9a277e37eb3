"""Show the few numbers of a training that matter, on one line per epoch."""

import os
import shutil
import sys
import threading
import time

import keras

from keras_clmae.argument_validation import check_choice
from keras_clmae.argument_validation import check_positive_integer

# Label in the line, name in the log, and format.
_SHOWN = (
    ("loss", "loss", "{:.4f}"),
    ("mask difficulty", "val_mask_difficulty", "{:.2f}"),
    ("factor", "curriculum_factor", "{:+.2f}"),
)
_BAR_WIDTH = 20
# The line is written anew after so many seconds.
_INTERVAL = 0.5
# An epoch that takes longer announces the time of the whole training, once so
# many steps and seconds have passed since its first step, which compiles.
_ANNOUNCE_STEPS, _ANNOUNCE_SECONDS = 10, 20.0


class Progress(keras.callbacks.Callback):
    """Shows one line per epoch, with the few numbers that matter.

    Loss, mask difficulty of the last validation, curriculum factor, images per
    second and the time that is left; everything else is for `CSVLogger` and
    `TensorBoardScalars`. `CLMAE.fit` shows it in place of Keras's bar.
    Elsewhere pass `verbose=0` to `fit` beside it. It may run on another thread,
    so that no step waits for its numbers.

    Args:
        batch_size: int. Images in a step, for the images per second. Defaults
            to `None`: steps per second.
        verbose: int. 1 for a bar that moves, in terminals and notebooks; 2 for
            a line at the end of each epoch, which is also what 1 does where the
            output is no terminal. Defaults to `1`.
        show: sequence of str. Names of the log to show as well, such as
            `("knn_accuracy",)`.
        log_name: str. Under this name the images per second enter the log of
            the epoch, for the callbacks after this one. Defaults to `None`: not
            logged.
        line_minutes: float. Where no line moves, as in log files, minutes from
            one line to the next within a long epoch. Defaults to `5.0`.

    Raises:
        ValueError: If `verbose` or `batch_size` does not fit.

    Example:

    >>> progress = keras_clmae.callbacks.Progress(batch_size=64, verbose=2)
    >>> progress.set_params({"epochs": 1, "steps": 10})
    >>> progress.on_train_begin()
    >>> progress.on_epoch_begin(0)
    >>> progress.on_train_batch_end(9, {"loss": 0.5})
    >>> progress.on_epoch_end(0, {"loss": 0.5, "curriculum_factor": 1.0})
    epoch 1/1  loss 0.5000  factor +1.00 ...
    """

    # Keras may then dispatch the batch hooks asynchronously.
    async_safe = True

    def __init__(
        self,
        batch_size=None,
        verbose=1,
        show=(),
        log_name=None,
        line_minutes=5.0,
    ):
        super().__init__()
        if batch_size is not None:
            check_positive_integer("batch_size", batch_size)
        check_choice("verbose", verbose, (1, 2))
        self.batch_size = batch_size
        self.verbose = verbose
        self.show = tuple(show)
        self.log_name = log_name
        self.line_minutes = line_minutes
        self._lock = threading.Lock()

    def on_train_begin(self, logs=None):
        self._moves = self.verbose == 1 and _is_interactive()
        self._difficulty = {}
        self._first_epoch = None
        # Time and finished steps from which on the steps are timed.
        self._since = None
        self._announced = False
        self._width = 0

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch
        self._done = 0
        self._epoch_start = self._written = time.monotonic()
        self._last_time = None
        if self._first_epoch is None:
            self._first_epoch = epoch
        elif epoch == self._first_epoch + 1:
            # From here on no validation and no picture compiles, either.
            self._since = (self._epoch_start, self._finished())

    def on_train_batch_end(self, batch, logs=None):
        with self._lock:
            now = time.monotonic()
            # Steps may be reported out of order.
            if batch + 1 <= self._done:
                return
            self._done, self._last_time = batch + 1, now
            if self._since is None:
                # What came before is compilation.
                self._since = (now, self._done)
            if self._is_time_to_announce(now):
                self._announced = True
                self._write_line(
                    f"About {duration(self._left(now))} for "
                    f"{self.params['epochs'] - self._epoch} epochs of "
                    f"{self.params['steps']} steps, at {self._rate_text()}."
                )
            interval = _INTERVAL if self._moves else 60 * self.line_minutes
            if now - self._written >= interval:
                self._written = now
                write = self._write if self._moves else self._write_line
                write(self._line({**(logs or {}), **self._difficulty}))

    def on_epoch_end(self, epoch, logs=None):
        logs = {} if logs is None else logs
        rate = self._rate()
        if self.log_name is not None and rate is not None:
            logs[self.log_name] = rate
        name = "val_mask_difficulty"
        self._difficulty = {name: logs[name]} if name in logs else {}
        self._write_line(self._line(logs, ended=True))

    def _rate(self):
        """Images, or steps, per second of the epoch so far."""
        start, done = self._epoch_start, self._done
        if self._epoch == self._first_epoch and self._since is not None:
            # An epoch of a single step has nothing but the one that compiles.
            if done > self._since[1]:
                start, done = self._since[0], done - self._since[1]
        if not done or self._last_time is None:
            return None
        seconds = max(self._last_time - start, 1e-9)
        return done * (self.batch_size or 1) / seconds

    def _rate_text(self):
        rate = self._rate()
        if rate is None:
            return ""
        unit = "steps/s" if self.batch_size is None else "images/s"
        return f"{rate:,.{0 if rate >= 100 else 1}f} {unit}"

    def _finished(self):
        """Finished steps of this process."""
        steps = self.params.get("steps") or 0
        return (self._epoch - self._first_epoch) * steps + self._done

    def _left(self, now):
        """Seconds until the end of the training, or `None` if unknown."""
        steps, epochs = self.params.get("steps"), self.params.get("epochs")
        if not steps or not epochs or self._since is None:
            return None
        start, timed = self._since[0], self._finished() - self._since[1]
        if not timed:
            # All that there is so far came at once: all its steps in one call,
            # or the last one reported first.
            start, timed = self._epoch_start, self._done
        if not timed:
            return None
        to_do = (epochs - self._epoch) * steps - self._done
        return (now - start) / timed * to_do

    def _is_time_to_announce(self, now):
        return (
            not self._announced
            and self._epoch == self._first_epoch
            and self._done - self._since[1] >= _ANNOUNCE_STEPS
            and now - self._since[0] >= _ANNOUNCE_SECONDS
            and self._left(now) is not None
        )

    def _line(self, logs, ended=False):
        epochs = self.params["epochs"]
        parts = [f"epoch {self._epoch + 1:{len(str(epochs))}}/{epochs}"]
        steps = self.params.get("steps")
        if not ended:
            parts.append(_bar(self._done, steps))
        if "mask_difficulty" in logs:
            # Of the training itself, where there is no validation.
            logs = {"val_mask_difficulty": logs["mask_difficulty"], **logs}
        shown = [*_SHOWN, *((name, name, "{:.4g}") for name in self.show)]
        parts += [
            f"{label} {pattern.format(float(logs[name]))}"
            for label, name, pattern in shown
            if name in logs
        ]
        if not ended and self._finished() == self._since[1]:
            # So far only the step that compiles, which says nothing of others.
            return "  ".join(parts)
        parts.append(self._rate_text())
        first = self._epoch == self._first_epoch
        left = self._left(self._last_time if first else time.monotonic())
        if left:
            parts.append(f"{duration(left)} left")
        return "  ".join(part for part in parts if part)

    def _write(self, line):
        """Overwrites the moving line."""
        # A line that wraps could not be written over.
        line = line[: shutil.get_terminal_size((120, 24)).columns - 1]
        sys.stdout.write("\r" + line.ljust(self._width))
        sys.stdout.flush()
        self._width = len(line)

    def _write_line(self, line):
        """Writes a line that stays."""
        start = "\r" if self._width else ""
        sys.stdout.write(start + line.ljust(self._width) + "\n")
        sys.stdout.flush()
        self._width = 0


def progress_for_fit(callbacks, verbose, x, batch_size):
    """Replaces Keras's progress bar by `Progress`.

    Args:
        callbacks: list of callbacks.
        verbose: As `fit` takes it.
        x: As `fit` takes it.
        batch_size: As `fit` takes it.

    Returns:
        The callbacks and `verbose` for Keras's own `fit`.
    """
    if any(isinstance(callback, Progress) for callback in callbacks):
        return callbacks, 0
    if not verbose or not keras.config.is_interactive_logging_enabled():
        return callbacks, verbose
    if any(isinstance(c, keras.callbacks.ProgbarLogger) for c in callbacks):
        return callbacks, verbose
    progress = Progress(_batch_size_of(x, batch_size), 2 if verbose == 2 else 1)
    return [*callbacks, progress], 0


def duration(seconds):
    """Writes a time in its two largest units.

    Args:
        seconds: float.

    Returns:
        str.

    Example:

    >>> [
    ...     keras_clmae.trainers.progress.duration(seconds)
    ...     for seconds in (7.6, 431, 9000, 400000)
    ... ]
    ['8 s', '7 min 11 s', '2 h 30 min', '4 d 15 h']
    """
    seconds = round(seconds)
    units = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))
    for index, (size, name) in enumerate(units[:-1]):
        if seconds >= size:
            smaller, smaller_name = units[index + 1]
            rest = seconds % size // smaller
            return f"{seconds // size} {name} {rest} {smaller_name}"
    return f"{seconds} s"


def _bar(done, steps):
    if not steps:
        return str(done)
    filled = round(_BAR_WIDTH * min(done / steps, 1))
    bar = "━" * filled + "─" * (_BAR_WIDTH - filled)
    return f"{done:{len(str(steps))}}/{steps} {bar}"


def _batch_size_of(x, batch_size):
    """Finds the number of images in a step of `fit`, or `None`."""
    if hasattr(x, "shape"):
        return 32 if batch_size is None else batch_size
    size = getattr(x, "batch_size", None)
    return size if isinstance(size, int) else None


def _is_interactive():
    return (
        sys.stdout.isatty()
        or type(sys.stdout).__module__.startswith("ipykernel")
        or "PYCHARM_HOSTED" in os.environ
    )
