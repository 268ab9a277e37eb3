"""Name the files of a run folder, and read and write the small ones.

No other module of `runs` and `cli` knows a file name.
"""

import csv
import json
import os

from keras_clmae.file_names import RUN_MODEL


class RunFolder:
    """The files of a pretraining run.

    Args:
        path: str. The folder; it need not exist.

    Attributes:
        config: str. The settings, as a recipe.
        normalization: str. Mean and standard deviation of the pixels.
        log: str. Every number of every epoch.
        tensorboard: str. The same as events, and the figures.
        checkpoints: str. Folder of states to go on from.
        masks: str. Folder of figures and arrays of masks over training.
        reconstructions: str. Folder of figures of reconstructions.
        model: str. The whole model at the end.
        encoder: str. Folder of the encoder alone, as a preset, and of the
            normalization of its images.
        curriculum_figure: str. Losses, curriculum and difficulty.
        masks_figure: str. Masks at start, middle and end.
        masks_now: str. Figure of the masks of the newest state.
        reconstructions_now: str. Figure of reconstructions of that state.
        attention_figure: str. Where the class token looks.
        animation: str. A mask over training, as a GIF.
    """

    def __init__(self, path):
        self.path = os.fspath(path)
        self.config = self.join("config.yaml")
        self.normalization = self.join("normalization.json")
        self.log = self.join("log.csv")
        self.tensorboard = self.join("tensorboard")
        self.checkpoints = self.join("checkpoints")
        self.masks = self.join("masks")
        self.reconstructions = self.join("reconstructions")
        self.model = self.join(RUN_MODEL)
        self.encoder = self.join("encoder")
        self.curriculum_figure = self.join("curriculum.png")
        self.masks_figure = self.join("masks.png")
        self.masks_now = self.join("masks_now.png")
        self.reconstructions_now = self.join("reconstructions_now.png")
        self.attention_figure = self.join("attention.png")
        self.animation = self.join("masks.gif")

    def join(self, *names):
        """Gives the path of a file in the folder."""
        return os.path.join(self.path, *names)

    def has_run(self):
        """Tells whether a run was started in the folder."""
        return os.path.isfile(self.config)

    def contents(self):
        """Contents of the folder: a dict from path to its meaning."""
        meanings = {
            self.encoder: "what you keep: the encoder, and how its images are "
            "standardized",
            self.model: "the whole model, to go on with",
            self.log: "every number of every epoch",
            self.tensorboard: "the same and the figures, for tensorboard "
            "--logdir",
            self.join("wandb"): "the same for Weights & Biases: wandb sync",
            self.join("mlflow.db"): "the same for MLflow: mlflow ui "
            "--backend-store-uri sqlite:///...",
            self.curriculum_figure: "losses, curriculum and mask difficulty on "
            "one page",
            self.masks_figure: "masks and reconstructions at start, middle and "
            "end",
            self.masks: "figures and arrays of the masks over training",
            self.reconstructions: "figures of reconstructions over training",
            self.checkpoints: "to go on from: keras-clmae pretrain --run_dir "
            "... --resume",
            self.config: "all settings, as a recipe",
            self.normalization: "mean and standard deviation of the pixels",
        }
        return {
            path: text
            for path, text in meanings.items()
            if os.path.exists(path)
        }

    def write_normalization(self, normalization):
        """Keeps a `PixelNormalization`."""
        from keras_clmae.saving import atomic_write

        with atomic_write(self.normalization) as unfinished:
            with open(unfinished, "w", encoding="utf-8") as file:
                json.dump(normalization_values(normalization), file)

    def read_normalization(self):
        """Reads the `PixelNormalization` of the run.

        Returns:
            A `PixelNormalization`, or `None` where none is kept.
        """
        from keras_clmae.data import PixelNormalization

        if not os.path.isfile(self.normalization):
            return None
        with open(self.normalization, encoding="utf-8") as file:
            return PixelNormalization(**json.load(file))

    def forget_epochs(self, epoch):
        """Drops the log's rows from an epoch on, and torn ones.

        Args:
            epoch: int. Number of the first epoch that will be run again.
        """
        from keras_clmae.saving import atomic_write

        if not os.path.exists(self.log):
            return
        with open(self.log, encoding="utf-8", newline="") as file:
            rows = list(csv.reader(file))
        width = len(rows[0]) if rows else 0
        kept = [
            row for row in rows[1:] if len(row) == width and int(row[0]) < epoch
        ]
        if not kept:
            # The header, too, may be torn.
            os.remove(self.log)
            return
        with atomic_write(self.log) as unfinished:
            with open(unfinished, "w", encoding="utf-8", newline="") as file:
                csv.writer(file).writerows([rows[0], *kept])

    def list_checkpoints(self):
        """Finds the checkpoints.

        Returns:
            dict from the number of finished epochs to a path.
        """
        from keras_clmae import callbacks

        paths = {}
        for epoch, path in callbacks.list_checkpoints(self.checkpoints):
            # The end of an epoch comes before the steps after it.
            paths.setdefault(epoch, path)
        return paths


def folder_of(source):
    """Finds the run folder that a model may lie in.

    Args:
        source: str. A folder, a file in one, or the name of a pretrained
            model.

    Returns:
        A `RunFolder`.
    """
    from keras_clmae.saving.pretrained import find_pretrained

    if not os.path.exists(source):
        source = find_pretrained(source) or source
    return RunFolder(
        os.path.dirname(source) if os.path.isfile(source) else source
    )


def normalization_values(normalization):
    """Gives mean and standard deviation of a `PixelNormalization`, for JSON."""
    return {
        "mean": normalization.mean.tolist(),
        "std": normalization.std.tolist(),
    }
