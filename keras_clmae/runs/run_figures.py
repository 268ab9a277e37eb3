"""Draw the figures that a run leaves behind."""

import os

from keras_clmae import callbacks
from keras_clmae import visualization
from keras_clmae.runs.folder import RunFolder
from keras_clmae.runs.parts import make_objective


def draw_run_figures(settings, model, inverse):
    """Writes the figures of the curriculum and of the masks.

    Args:
        settings: `Settings`.
        model: the trained model.
        inverse: function from standardized images to pixels.
    """
    folder = RunFolder(settings.run_dir)
    title = f"{settings.title} on {settings.data}, {settings.epochs} epochs"
    visualization.save_figure(
        visualization.curriculum_figure(
            visualization.read_log(folder.log), title, drawn_terms(settings)
        ),
        folder.curriculum_figure,
    )
    # Of several JAX processes none can call the model by itself: no gallery.
    if not os.path.isdir(folder.masks):
        return
    images, snapshots = callbacks.load_snapshots(folder.masks)
    visualization.save_figure(
        visualization.masks_over_training_figure(
            images,
            start_middle_end(snapshots),
            visualization.rgb_function(
                images, inverse, settings.shown_channels
            ),
            model.encoder.grid_size,
            title,
        ),
        folder.masks_figure,
    )


def drawn_terms(settings):
    """Lists the terms of the objective, for `curriculum_figure`.

    Args:
        settings: `Settings`.

    Returns:
        A tuple of str, or `None` where the settings name no objective.
    """
    objective = make_objective(settings)
    return None if objective is None else objective.term_names


def start_middle_end(snapshots):
    """The first, the middle and the last of snapshots over training."""
    epochs = sorted(snapshots)
    middle = min(epochs, key=lambda epoch: abs(epoch - epochs[-1] / 2))
    chosen = sorted({epochs[0], middle, epochs[-1]})
    return {epoch: snapshots[epoch] for epoch in chosen}
