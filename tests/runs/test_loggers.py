"""Logs of a run: columns, Weights & Biases, MLflow, callbacks of one's own."""

import csv
import json
import struct
import textwrap

import keras
import mlflow
import pytest
import wandb
from wandb.proto import wandb_internal_pb2

from keras_clmae import runs
from keras_clmae.callbacks import MLflowLogger
from keras_clmae.callbacks import StepResources
from keras_clmae.callbacks import WandbLogger
from keras_clmae.runs.run_callbacks import own_callbacks
from keras_clmae.runs.run_log import RunLog
from tests.once import ONCE
from tests.runs.test_pretraining import SIZES

for module in ("sklearn", "tensorboardX", "matplotlib", "yaml"):
    pytest.importorskip(module)

SMALL = {
    "model": SIZES,
    "method": "mae",
    "batch_size": 512,
    "epochs": 1,
    "verbose": 0,
    "pictures_every": 0,
}


def log_epoch(logger, epoch, loss):
    logger.on_train_begin()
    logger.on_epoch_end(epoch, {"loss": loss})


def wandb_records(path):
    """Reads the file that wandb keeps for its server: a log of LevelDB's form.

    Records lie in blocks of 32 KiB, each part behind a checksum (4 bytes), its
    length (2) and whether it is whole (1) or the first to last part (2 to 4).
    """
    raw = path.read_bytes()
    # Behind the name of the form.
    position, data = 7, b""
    while position + 7 <= len(raw):
        left = 2**15 - position % 2**15
        if left < 7:
            position += left
            continue
        length, kind = struct.unpack("<HB", raw[position + 4 : position + 7])
        data += raw[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):
            yield wandb_internal_pb2.Record.FromString(data)
            data = b""


def wandb_history(folder):
    """Steps and losses in the files that wandb keeps for its server."""
    # Writes what is left.
    wandb.teardown()
    rows = []
    for path in folder.glob("wandb/offline-run-*/*.wandb"):
        for record in wandb_records(path):
            items = {
                item.key or item.nested_key[0]: json.loads(item.value_json)
                for item in record.history.item
            }
            if items:
                rows.append((items["_step"], items["loss"]))
    return sorted(rows)


@ONCE
@pytest.mark.filterwarnings("ignore::DeprecationWarning:wandb.*")
def test_weights_and_biases_offline(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    first = WandbLogger(tmp_path / "run", {"epochs": 2})
    log_epoch(first, 0, 2.0)
    first.on_train_end()
    # The process that goes on.
    second = WandbLogger(tmp_path / "run")
    assert second.run_id == first.run_id
    log_epoch(second, 1, 1.0)
    second.close()
    assert wandb_history(tmp_path / "run") == [(1, 2.0), (2, 1.0)]


@ONCE
# Of what MLflow itself asks of its database.
@pytest.mark.filterwarnings("ignore::DeprecationWarning:sqlalchemy.*")
@pytest.mark.filterwarnings("ignore:The ``noload`` loader")
def test_mlflow_and_callbacks_by_name(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine_for_mlflow.py").write_text(
        textwrap.dedent(
            """
            import keras

            class Note(keras.callbacks.Callback):
                def __init__(self, path):
                    super().__init__()
                    self.path = path

                def on_epoch_end(self, epoch, logs=None):
                    logs["noted"] = 7.0

            def make(settings):
                return [Note(settings.run_dir)]

            def nothing():
                return 3
            """
        )
    )
    run_dir = str(tmp_path / "run")
    runs.pretrain(
        run_dir=run_dir,
        logger="mlflow",
        callbacks="mine_for_mlflow:make",
        **SMALL,
    )
    with open(f"{run_dir}/log.csv", newline="") as file:
        (row,) = csv.DictReader(file)
    assert float(row["noted"]) == 7.0
    logger = MLflowLogger(run_dir)
    client = mlflow.MlflowClient(f"sqlite:///{run_dir}/mlflow.db")
    kept = client.get_run(logger.run_id)
    assert kept.info.status == "FINISHED" and kept.info.run_name == "run"
    assert kept.data.params["batch_size"] == "512"
    (loss,) = client.get_metric_history(logger.run_id, "loss")
    assert loss.step == 1 and abs(loss.value - float(row["loss"])) < 1e-6
    # A training that goes on, and fails.
    log_epoch(logger, 1, 0.5)
    logger.close()
    assert client.get_run(logger.run_id).info.status == "FAILED"
    assert len(client.get_metric_history(logger.run_id, "loss")) == 2
    settings = runs.Settings(run_dir, callbacks=["mine_for_mlflow:nothing"])
    with pytest.raises(ValueError, match="must name functions that return a"):
        own_callbacks(settings)
    settings.callbacks = ["mine_for_mlflow:make", "mine_for_mlflow:absent"]
    with pytest.raises(ValueError, match="`callbacks` must name a function"):
        own_callbacks(settings)


def test_resources_of_an_epoch():
    model = keras.Sequential([keras.layers.Dense(1)])
    rate = keras.optimizers.schedules.PolynomialDecay(0.5, 4, 0.1)
    model.compile(keras.optimizers.SGD(rate), "mse")
    x = keras.ops.zeros((8, 1))
    history = model.fit(
        x, x, 4, epochs=2, verbose=0, callbacks=[StepResources()]
    ).history
    # After two and four steps.
    assert history["learning_rate"] == pytest.approx([0.3, 0.1])
    waits = keras.config.backend() != "tensorflow"
    assert ("data_wait_seconds" in history) == waits
    if waits:
        assert all(0 < each < 60 for each in history["data_wait_seconds"])
    # No GPU.
    assert "device_memory_gib" not in history


@ONCE
def test_an_older_log_keeps_its_columns(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("epoch,knn_accuracy,loss\n0,,2.0\n")
    log = RunLog(str(path), append=True)
    log.on_train_begin()
    log.on_epoch_end(1, {"learning_rate": 0.1, "loss": 1.0})
    log.on_train_end()
    assert path.read_text().split() == [
        "epoch,knn_accuracy,loss",
        "0,,2.0",
        "1,,1.0",
    ]
