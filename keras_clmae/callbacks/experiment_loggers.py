"""Send the log of a training to Weights & Biases or MLflow."""

import json
import os
import time

import keras

from keras_clmae.optional_imports import require
from keras_clmae.saving import atomic_write

# Of Weights & Biases, and the experiment of MLflow, where no variable of the
# environment says otherwise.
PROJECT = "keras_clmae"


class ExperimentLogger(keras.callbacks.Callback):
    """Sends the log of every epoch to a service. Base class.

    Steps are finished epochs, as those of `TensorBoardScalars`. The run's name
    at the service is kept in the folder, so that a training that goes on from a
    checkpoint goes on there, too.

    Args:
        directory: str. Folder of the training, whose name is the run's.
        config: dict. Settings of the training. Defaults to `None`.
    """

    _service = None

    def __init__(self, directory, config=None):
        super().__init__()
        self.directory = os.fspath(directory)
        self.config = config or {}
        self.run_id = self._stored()
        self._is_open = False

    def on_train_begin(self, logs=None):
        if self._is_open:
            return
        run_id = self._open(os.path.basename(os.path.abspath(self.directory)))
        self._is_open = True
        if run_id != self.run_id:
            self.run_id = run_id
            with atomic_write(self._path()) as unfinished:
                with open(unfinished, "w", encoding="utf-8") as file:
                    json.dump(run_id, file)

    def on_epoch_end(self, epoch, logs=None):
        self._log(
            {name: float(value) for name, value in (logs or {}).items()},
            epoch + 1,
        )

    def on_train_end(self, logs=None):
        self._end(failed=False)

    def close(self):
        """Ends the run at the service, of a training that raised."""
        self._end(failed=True)

    def _end(self, failed):
        if self._is_open:
            self._is_open = False
            self._close(failed)

    def _path(self):
        return os.path.join(self.directory, f"{self._service}.json")

    def _stored(self):
        if not os.path.isfile(self._path()):
            return None
        with open(self._path(), encoding="utf-8") as file:
            return json.load(file)


class WandbLogger(ExperimentLogger):
    """Sends the log of every epoch to Weights & Biases.

    By the client's own environment: `WANDB_MODE=offline` writes into the
    folder only, for `wandb sync`, and `WANDB_PROJECT` names the project,
    `keras_clmae` by default. The callbacks of the client itself need
    TensorFlow; this one needs wandb only.

    Args:
        directory: str. Folder of the training, whose name is the run's.
        config: dict. Settings of the training. Defaults to `None`.

    Raises:
        ImportError: If wandb is not installed.

    Example:

    ```python
    model.fit(
        images, epochs=10, callbacks=[keras_clmae.callbacks.WandbLogger("out")]
    )
    ```
    """

    _service = "wandb"

    def __init__(self, directory, config=None):
        self._wandb = require("wandb", "Logging to Weights & Biases")
        super().__init__(directory, config)

    def _open(self, name):
        # wandb takes another folder where this one does not exist.
        os.makedirs(self.directory, exist_ok=True)
        self._run = self._wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            name=name,
            dir=self.directory,
            config=self.config,
            id=self.run_id,
            resume="allow",
        )
        return self._run.id

    def _log(self, values, step):
        self._run.log(values, step=step)

    def _close(self, failed):
        self._run.finish(exit_code=int(failed))


class MLflowLogger(ExperimentLogger):
    """Sends the log of every epoch to MLflow.

    `MLFLOW_TRACKING_URI` names the server, and `MLFLOW_EXPERIMENT_NAME` the
    experiment, `keras_clmae` by default. Without a server the numbers go to
    mlflow.db in the folder, for `mlflow ui --backend-store-uri
    sqlite:///out/mlflow.db`.

    Args:
        directory: str. Folder of the training, whose name is the run's.
        config: dict. Settings of the training. Defaults to `None`.

    Raises:
        ImportError: If mlflow is not installed.

    Example:

    ```python
    model.fit(
        images, epochs=10, callbacks=[keras_clmae.callbacks.MLflowLogger("out")]
    )
    ```
    """

    _service = "mlflow"

    def __init__(self, directory, config=None):
        self._mlflow = require("mlflow", "Logging to MLflow")
        super().__init__(directory, config)

    def _open(self, name):
        os.makedirs(self.directory, exist_ok=True)
        database = os.path.abspath(os.path.join(self.directory, "mlflow.db"))
        self._client = self._mlflow.MlflowClient(
            os.environ.get("MLFLOW_TRACKING_URI", f"sqlite:///{database}")
        )
        if self.run_id is not None:
            self._client.update_run(self.run_id, status="RUNNING")
            return self.run_id
        experiment = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
        found = self._client.get_experiment_by_name(experiment)
        number = (
            self._client.create_experiment(experiment)
            if found is None
            else found.experiment_id
        )
        run_id = self._client.create_run(number, run_name=name).info.run_id
        for key, value in self.config.items():
            self._client.log_param(run_id, key, value)
        return run_id

    def _log(self, values, step):
        now = int(time.time() * 1000)
        metric = self._mlflow.entities.Metric
        self._client.log_batch(
            self.run_id,
            [metric(name, value, now, step) for name, value in values.items()],
        )

    def _close(self, failed):
        status = "FAILED" if failed else "FINISHED"
        self._client.set_terminated(self.run_id, status)
