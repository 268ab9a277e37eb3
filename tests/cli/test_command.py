"""The command itself: what it refuses, how soon, and what it imports."""

import os
import signal
import subprocess
import sys
import warnings

import keras
import pytest

from keras_clmae import cli
from keras_clmae.cli import backend
from keras_clmae.cli.command import SUBCOMMANDS
from keras_clmae.runs.stopping import StopRequest
from tests.cli.processes import COMMAND
from tests.cli.processes import ROOT
from tests.lean import lean_environment
from tests.once import ONCE

pytest.importorskip("jsonargparse")
pytestmark = ONCE

# In one process, as the console script starts: all that is answered before
# Keras is needed, and then the package as a whole.
EARLY = """
import sys
sys.argv = ["bin/keras-clmae"]
from keras_clmae import cli
for words in {commands!r}:
    try:
        cli.run(words)
    except SystemExit as ended:
        print(ended.code, *words, file=sys.stderr)
heavy = {{"keras", "jax", "torch", "tensorflow", "matplotlib"}}
assert not heavy & set(sys.modules), heavy & set(sys.modules)

import keras_clmae
assert keras_clmae.models.CLMAE.__name__ == "CLMAE"
assert set(keras_clmae.__all__) <= set(dir(keras_clmae))
from keras_clmae.cli.backend import load_package
load_package(computes=False)
import keras
assert keras.saving.get_registered_object("keras_clmae>LARS")
"""


def in_process(code):
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=lean_environment(KERAS_BACKEND="torch"),
    )


def test_nothing_heavy_is_imported_before_the_arguments_are_good(tmp_path):
    (tmp_path / "config.yaml").touch()
    helps = [[name, "--help"] for name in SUBCOMMANDS if name != "visualize"]
    helps += [["visualize", "masks", "--help"]]
    refused = [
        ["pretrian"],
        ["pretrain", "--epoch=3", "--run_dir=x"],
        ["pretrain", "--config=digits", f"--run_dir={tmp_path}"],
        ["pretrain", "--config=digts"],
        ["pretrain", "--config=digits", "--data=nowhere"],
        ["pretrain", "--run_dir=x"],
        ["knn", "nowhere", "digits"],
        ["finetune", ".", "folder:nowhere"],
        ["convert", "nowhere", "x.keras"],
        ["check-data", "nowhere"],
        ["visualize", "masks", "nowhere"],
        ["report", "nowhere"],
        ["recipes", "nothing"],
    ]
    shown = [[], ["recipes"], ["--version"], ["visualize", "--help"]]
    commands = [*shown, *helps, *refused]
    done = in_process(EARLY.format(commands=commands))
    assert done.returncode == 0, done.stderr
    ended = [line for line in done.stderr.splitlines() if line[0] in "012"]
    assert ended == [
        *(" ".join(["0", *words]) for words in helps),
        *(" ".join(["2", *words]) for words in refused),
    ]
    # One line each, and one for the print above.
    assert len(done.stderr.splitlines()) == len(ended) + len(refused)


def test_as_a_module():
    done = subprocess.run(
        [*COMMAND, "knn", "--sourc"], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 2 and done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1 and done.stdout == ""


def test_importing_the_package_registers_its_classes():
    code = (
        "import keras_clmae, keras\n"
        "assert keras.saving.get_registered_object('keras_clmae>CLMAE')"
    )
    done = in_process(code)
    assert done.returncode == 0, done.stderr


def says(capsys, *words, status=2):
    with pytest.raises(SystemExit) as ended:
        cli.run(words)
    assert ended.value.code == status
    return capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["pretrian"], "Did you mean 'pretrain'?"),
        (["linear_prob"], "Did you mean 'linear-probe'?"),
        (["knn", "--poling=mean", ".", "digits"], "Did you mean '--pooling'?"),
        (
            ["pretrain", "--flip=maybe"],
            "`flip` must be bool or float. Received: flip=maybe",
        ),
        (["pretrain", "--config=digts"], "Did you mean 'digits'?"),
        (
            ["pretrain", "--config=digits", "--method=mea"],
            "`method` must be one of 'clmae', 'mae'. Received: method=mea. "
            "Did you mean 'mae'?",
        ),
        (
            ["pretrain", "--config=digits", "--epochs=two"],
            "`epochs` must be of type int. Received: epochs=two",
        ),
        (["visualize", "mask"], "Did you mean 'masks'?"),
        (
            ["knn", ".", "digits", "--k=zero"],
            "`k` must be int or list[int] or None. Received: k=zero",
        ),
        (
            ["knn", ".", "digits", "--statistics=mine"],
            "`statistics` must be 'imagenet', 'from_data' or "
            "list[list[float]] or None. Received: statistics=mine",
        ),
        (
            ["pretrain", "folder:nowhere", "--run_dir=r"],
            "files that exist. Received: data='folder:nowhere'",
        ),
        (["pretrain"], "pretrain` needs --run_dir; --help shows examples"),
        (["embed"], "embed` needs source and data; --help shows examples"),
    ],
)
def test_what_was_meant(words, expected, capsys):
    line = says(capsys, *words)
    assert line.startswith("error: ") and line.endswith(f"{expected}\n")
    assert line.count("\n") == 1


def test_backends(monkeypatch, capsys):
    monkeypatch.setenv("KERAS_BACKEND", "pytorch")
    with pytest.raises(cli.command.UsageError, match="Did you mean 'torch'"):
        backend.choose_backend()
    installed = {"torch", "tensorflow"}
    monkeypatch.setattr(backend, "_is_installed", installed.__contains__)
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    with pytest.raises(cli.command.UsageError, match="installed: torch, ten"):
        backend.choose_backend()
    monkeypatch.delenv("KERAS_BACKEND")
    assert backend.choose_backend() == "torch"
    installed.clear()
    monkeypatch.delenv("KERAS_BACKEND")
    with pytest.raises(cli.command.UsageError, match="pip install"):
        backend.choose_backend()
    monkeypatch.setenv("KERAS_BACKEND", keras.backend.backend())


def test_without_jsonargparse(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "jsonargparse", None)
    line = says(capsys, "pretrain", status=1)
    assert 'pip install "keras-clmae[cli]"' in line


def test_only_the_chatter_of_tensorflow_is_kept_back(monkeypatch, capfd):
    lines = [
        "WARNING: All log messages before absl::InitializeLog() is called",
        "I0000 00:00:1795826.494150   14931 port.cc:153] custom operations",
        "E0000 00:00:1795826.494150   14931 x.cc:1] an error",
        "a warning",
    ]
    text = "".join(f"{line}\n" for line in lines).encode()
    monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL", raising=False)
    with backend._without_chatter():
        os.write(2, text)
    assert capfd.readouterr().err.splitlines() == lines[2:]
    # Who asks for it gets it.
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "0")
    with backend._without_chatter():
        os.write(2, text)
    assert capfd.readouterr().err.splitlines() == lines


def test_warnings_are_one_line(monkeypatch, capsys):
    def warns(arguments):
        for kind in (UserWarning, DeprecationWarning):
            text = warnings.formatwarning("of data\nor so", kind, "x.py", 3, "")
            print(text, end="", file=sys.stderr)

    before = warnings.formatwarning
    monkeypatch.setattr(cli.command, "_dispatch", warns)
    cli.run([])
    first, second, *_ = capsys.readouterr().err.splitlines()
    assert first == "warning: of data or so"
    assert second == "x.py:3: DeprecationWarning: of data"
    assert warnings.formatwarning is before


def test_ctrl_c_saves_first_and_ends_at_once_then(capsys):
    stop = StopRequest()
    before = signal.getsignal(signal.SIGINT)
    with stop.set_by_signals():
        assert not stop.is_set()
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.is_set() and stop.signal == signal.SIGINT
        assert "Ctrl-C again ends at once" in capsys.readouterr().err
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_what_stops_the_reading_of_images_is_one_line(monkeypatch, capsys):
    tf = pytest.importorskip("tensorflow")

    def fails(*_):
        raise ValueError("`masks_dir` must hold masks. Received: 9")

    def read(arguments):
        numbers = tf.data.Dataset.range(1)
        list(numbers.map(lambda _: tf.numpy_function(fails, [], "int64")))

    monkeypatch.setattr(cli.command, "_dispatch", read)
    line = says(capsys, status=1)
    assert line == "error: `masks_dir` must hold masks. Received: 9\n"

    def another(arguments):
        raise tf.errors.InternalError(None, None, "something else")

    monkeypatch.setattr(cli.command, "_dispatch", another)
    with pytest.raises(tf.errors.InternalError):
        cli.run([])


def test_recipes(capsys):
    cli.run(["recipes"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [
        "cifar10",
        "digits",
        "digits_published",
        "imagenet_base",
    ]
    assert all(20 < len(line) < 100 for line in lines)
    cli.run(["recipes", "digits"])
    path = ROOT / "keras_clmae" / "recipes" / "digits.yaml"
    assert capsys.readouterr().out == path.read_text(encoding="utf-8")
