"""Write the log of a run as CSV."""

import csv
import os

import keras


class RunLog(keras.callbacks.CSVLogger):
    """The log, with a column for what is not measured in every epoch.

    And without Keras's columns for validation where there is none.

    Args:
        path: str. The CSV file.
        append: bool. Whether to go on with it.
        sometimes: iterable of str. Columns that are empty in some epochs.
    """

    def __init__(self, path, append, sometimes=()):
        super().__init__(path, append=append)
        self.sometimes = dict.fromkeys(sometimes, "")

    def on_train_begin(self, logs=None):
        columns = []
        if self.append and os.path.isfile(self.filename):
            # Of an earlier start, maybe of a version with other columns.
            with open(self.filename, encoding="utf-8", newline="") as file:
                columns = next(csv.reader(file), [])
        super().on_train_begin(logs)
        self.keys = columns[1:] or None

    def on_epoch_end(self, epoch, logs=None):
        logs = {**self.sometimes, **(logs or {})}
        if self.keys is None:
            self.keys = sorted(logs)
        logs = {**dict.fromkeys(self.keys, ""), **logs}
        super().on_epoch_end(epoch, logs)

    def close(self):
        """Closes the file, also of a training that raised."""
        if self.csv_file is not None:
            self.csv_file.close()
