"""End a training on request, with its state saved."""

import contextlib
import signal
import sys
import threading

from keras_clmae import distribution


class StopRequest(threading.Event):
    """An event that SIGTERM and the first Ctrl-C set.

    Attributes:
        signal: int. What set the event, or `None`.
    """

    def __init__(self):
        super().__init__()
        self.signal = None

    @contextlib.contextmanager
    def set_by_signals(self):
        """Lets the signals set the event, and nothing else, inside a block.

        A second Ctrl-C raises `KeyboardInterrupt` as usual. Several JAX
        processes leave SIGTERM to JAX's preemption service, which tells all of
        them (see `callbacks.HostsCheckpoint`). Outside of the main thread,
        which alone gets signals, nothing changes.

        Raises:
            TrainingInterrupted: with the `signal` that set the event.
        """
        from keras_clmae.callbacks import TrainingInterrupted

        handlers = {}
        if threading.current_thread() is threading.main_thread():
            handlers = {signal.SIGINT: self._interrupt}
            handlers[signal.SIGTERM] = self._terminate
        if distribution.current_plan().is_over_jax_processes:
            handlers = {}
        before = {
            number: signal.signal(number, handler)
            for number, handler in handlers.items()
        }
        try:
            yield
        except TrainingInterrupted as interruption:
            interruption.signal = self.signal or signal.SIGTERM
            raise
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _terminate(self, number, frame):
        self.signal = number
        self.set()

    def _interrupt(self, number, frame):
        signal.signal(signal.SIGINT, signal.default_int_handler)
        self._terminate(number, frame)
        if distribution.is_first_process():
            print(
                "\nSaving after this step. Ctrl-C again ends at once.",
                file=sys.stderr,
            )
