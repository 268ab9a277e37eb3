"""SIGTERM to one of several processes: all save the same step and end."""

import signal
import subprocess
import sys

import keras
import pytest

from tests.distribution.test_agreement import ROOT
from tests.distribution.test_agreement import environment_of
from tests.distribution.test_agreement import free_ports


def test_one_is_terminated_and_all_save_and_stop(tmp_path):
    if keras.backend.backend() == "jax":
        pytest.importorskip("orbax.checkpoint")
    ports = free_ports(2)
    program = str(ROOT / "tests" / "distribution" / "stop_worker.py")
    processes = [
        subprocess.Popen(
            [sys.executable, program, str(tmp_path)],
            env=environment_of(index, ports),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for index in range(2)
    ]
    lines = []
    # Not the one that writes, where only one does.
    for line in processes[1].stdout:
        lines.append(line)
        if line == "trains\n":
            break
    processes[1].send_signal(signal.SIGTERM)
    outputs = [process.communicate(timeout=600)[0] for process in processes]
    stopped = set()
    for process, output in zip(processes, outputs, strict=True):
        assert process.returncode == 128 + signal.SIGTERM, "".join(
            [*lines, *outputs]
        )
        assert "Stopped on request after epoch 0, step" in output
        stopped |= {
            line for line in output.splitlines() if line.startswith("Stopped")
        }
    assert len(stopped) == 1, stopped
