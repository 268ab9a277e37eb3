"""The line that `fit` shows."""

import re

import keras
import pytest

from keras_clmae.callbacks import Progress
from keras_clmae.trainers import TerminateOnNonFinite
from keras_clmae.trainers import progress
from tests.once import ONCE
from tests.tiny_models import shared_clmae
from tests.tiny_models import tiny_images


@pytest.fixture(scope="module")
def model():
    """Trained by all tests: compiling takes longer than what they show."""
    return shared_clmae()


def fit(model, capsys, **arguments):
    history = model.fit(
        tiny_images(),
        batch_size=4,
        epochs=2,
        validation_data=(tiny_images(4),),
        **arguments,
    )
    return history.history, capsys.readouterr().out


def test_one_line_an_epoch(model, capsys):
    history, output = fit(model, capsys)
    lines = output.strip().split("\n")
    assert len(lines) == 2
    pattern = (
        r"epoch {}/2  loss [\d.]+  mask difficulty [\d.]+  factor [+-][\d.]+  "
        r"[\d,.]+ images/s"
    )
    for number, line in enumerate(lines):
        assert re.match(pattern.format(number + 1), line), line
        assert f"loss {history['loss'][number]:.4f}" in line
        difficulty = history["val_mask_difficulty"][number]
        assert f"mask difficulty {difficulty:.2f}" in line
    assert lines[0].endswith("left") and not lines[1].endswith("left")
    # The rest is in the log, of which nothing is missing or added.
    assert {"kl_loss", "mask_overlap", "masking_gradient_norm"} <= set(history)
    assert "images_per_second" not in history


@ONCE
def test_a_bar_moves_in_a_terminal(model, capsys, monkeypatch):
    monkeypatch.setattr(progress, "_is_interactive", lambda: True)
    monkeypatch.setattr(progress, "_INTERVAL", 0.0)
    _, output = fit(model, capsys)
    assert re.search(r"\repoch 1/2  \d/3 ━+", output)
    # What stays at the end of each line is the epoch's.
    stays = [line.split("\r")[-1] for line in output.strip().split("\n")]
    assert len(stays) == 2
    assert all(line.startswith("epoch") and "/3" not in line for line in stays)


def test_the_step_that_compiles_says_nothing_of_the_speed(capsys, monkeypatch):
    monkeypatch.setattr(progress, "_is_interactive", lambda: True)
    monkeypatch.setattr(progress, "_INTERVAL", 0.0)
    shown = Progress(batch_size=4)
    shown.set_params({"epochs": 2, "steps": 3})
    shown.on_train_begin()
    for epoch in range(2):
        shown.on_epoch_begin(epoch)
        for batch in range(2):
            shown.on_train_batch_end(batch, {"loss": 1.0})
    lines = capsys.readouterr().out.split("\r")[1:]
    for text in ("images/s", " left"):
        assert [text in line for line in lines] == [False] + [True] * 3


# Keras reports the steps of `fit` in any order.
@ONCE
@pytest.mark.parametrize("order", [(0, 1, 2), (0, 2, 1), (2, 1, 0)])
def test_the_time_is_announced_after_the_first_steps(
    order, capsys, monkeypatch
):
    monkeypatch.setattr(progress, "_ANNOUNCE_STEPS", 1)
    monkeypatch.setattr(progress, "_ANNOUNCE_SECONDS", 0.0)
    shown = Progress(batch_size=4, verbose=2)
    shown.set_params({"epochs": 2, "steps": 3})
    shown.on_train_begin()
    shown.on_epoch_begin(0)
    for batch in order:
        shown.on_train_batch_end(batch, {"loss": 1.0})
    shown.on_epoch_end(0, {"loss": 1.0})
    output = capsys.readouterr().out
    announced = re.findall(
        r"About \d+ s for 2 epochs of 3 steps, at .* images/s", output
    )
    # Not if everything came at once.
    assert len(announced) == (order[0] == 0)
    assert output.endswith("left\n")


@ONCE
def test_a_line_within_long_epochs(capsys):
    for minutes, expected in ((1e-9, 3), (5.0, 1)):
        shown = Progress(batch_size=4, verbose=2, line_minutes=minutes)
        shown.set_params({"epochs": 1, "steps": 2})
        shown.on_train_begin()
        shown.on_epoch_begin(0)
        for batch in range(2):
            shown.on_train_batch_end(batch, {"loss": 1.0})
        shown.on_epoch_end(0, {"loss": 1.0})
        lines = capsys.readouterr().out.splitlines()
        assert len(lines) == expected
        assert all("loss 1.0000" in line for line in lines)
        assert "1/2" in lines[0] or expected == 1


@ONCE
def test_silence_and_other_bars(model, capsys):
    assert fit(model, capsys, verbose=0)[1] == ""
    own = Progress(batch_size=4, verbose=2, log_name="images_per_second")
    history, output = fit(model, capsys, callbacks=[own])
    assert output.count("epoch ") == 2
    assert min(history["images_per_second"]) > 0
    bar = keras.callbacks.ProgbarLogger()
    assert progress.progress_for_fit([bar], "auto", None, None) == (
        [bar],
        "auto",
    )


def test_no_step_waits_for_its_numbers():
    callbacks, verbose = progress.progress_for_fit(
        [TerminateOnNonFinite()], "auto", tiny_images(), 4
    )
    assert verbose == 0
    assert callbacks[-1].batch_size == 4
    # On TensorFlow Keras waits, whatever callbacks there are.
    by_itself = keras.callbacks.CallbackList([])._async_train
    assert by_itself == (keras.backend.backend() != "tensorflow")
    assert keras.callbacks.CallbackList(callbacks)._async_train == by_itself


@ONCE
def test_steps_out_of_order_and_of_unknown_number(capsys):
    callback = Progress(verbose=2)
    callback.set_params({"epochs": 1, "steps": None})
    callback.on_train_begin()
    callback.on_epoch_begin(0)
    callback.on_train_batch_end(4)
    callback.on_train_batch_end(3)
    callback.on_epoch_end(0, {"loss": 1.0})
    output = capsys.readouterr().out
    assert re.match(r"epoch 1/1  loss 1.0000  [\d,.]+ steps/s\n", output)


@ONCE
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 0}, "`batch_size` must be a positive integer"),
        ({"verbose": 3}, "`verbose` must be one of 1, 2"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        Progress(**arguments)
