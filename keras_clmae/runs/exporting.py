"""Export the encoder of a run for serving and for other libraries."""

import os
import tempfile

import keras

from keras_clmae import evaluation
from keras_clmae.runs.checks import settings_of
from keras_clmae.runs.conversion_settings import ConversionSettings
from keras_clmae.runs.converting import convert
from keras_clmae.runs.export_settings import ENDINGS
from keras_clmae.runs.export_settings import PROGRAMS
from keras_clmae.runs.export_settings import ExportSettings
from keras_clmae.runs.folder import RunFolder
from keras_clmae.runs.loading import weights_arguments
from keras_clmae.runs.normalization import source_normalization
from keras_clmae.saving import atomic_folder


def export(source, format, output=None, **settings):
    """Writes the encoder of a run for serving, or for another library.

    The same as `keras-clmae export`.

    Args:
        source: str. Folder of a run or its `encoder/`, model file, preset or
            `hf://` name, as in `keras_clmae.evaluation.load_encoder`.
        format: str. `"onnx"`, `"saved-model"` (not on PyTorch) or `"torch"` (on
            PyTorch), programs from images to features; or `"huggingface"`,
            `"timm"` or `"keras-hub"`, weights for these libraries.
        output: str. File or folder to write. Defaults to `None`: `encoder` with
            the ending of the format, in the run folder, or in the working
            directory.
        **settings: further options of the command, such as
            `pooling="class_token"`.

    Returns:
        str. Path of the file or folder.

    Raises:
        ValueError: if a setting is wrong, the backend has no such format, or
            the other library has no place for the encoder.
        ImportError: if the tool that writes the format is missing.

    Example:

    ```python
    keras_clmae.runs.export("runs/mine", "onnx", "encoder.onnx")
    ```
    """
    values = {"source": source, "format": format, "output": output, **settings}
    return run_export(settings_of(ExportSettings, values))


def run_export(settings):
    """Exports as settings say; see `export`.

    Args:
        settings: `ExportSettings`.

    Returns:
        str. Path of the file or folder.
    """
    settings.check_paths()
    _check_backend(settings)
    output = settings.output or default_output(settings)
    if settings.format not in PROGRAMS:
        convert(
            ConversionSettings(
                settings.source,
                output,
                target_format=settings.format.replace("-", "_"),
                **weights_arguments(settings),
                encoder_only=True,
            )
        )
        return output
    model = encoder = evaluation.load_encoder(
        settings.source, **weights_arguments(settings)
    )
    if settings.pooling != "tokens":
        pooling = settings.pooling or "mean"
        model = evaluation.FeatureExtractor(encoder, pooling)
    if settings.format == "saved-model":
        with atomic_folder(output) as unfinished:
            model.export(unfinished, verbose=False)
    else:
        write_files(
            output,
            lambda path: model.export(
                path, format=settings.format, verbose=False
            ),
        )
    return output


def write_files(path, write):
    """Writes a file, and others that it may need beside it, whole.

    Exporters put weights above two gigabytes into a second file, whose name is
    in the first: both are written under their own names, in a folder aside.

    Args:
        path: str. The file.
        write: function of a path, which writes the file.
    """
    folder, name = os.path.split(os.path.abspath(path))
    with tempfile.TemporaryDirectory(dir=folder) as unfinished:
        write(os.path.join(unfinished, name))
        # The file that needs the others comes last.
        for each in sorted(os.listdir(unfinished), key=lambda n: n == name):
            os.replace(
                os.path.join(unfinished, each), os.path.join(folder, each)
            )


def default_output(settings):
    """Path beside the model of a run, or in the working directory."""
    run = RunFolder(settings.source)
    name = f"encoder{ENDINGS[settings.format]}"
    if os.path.isfile(run.model):
        return run.join(name)
    return name


def input_description(settings):
    """Says what a program takes.

    Args:
        settings: `ExportSettings`.

    Returns:
        str. One line, on how images are standardized.
    """
    encoder = evaluation.load_encoder(
        settings.source, **weights_arguments(settings)
    )
    height, width, channels = encoder.image_shape
    normalization = source_normalization(settings.source, channels)
    standardized = "standardized as in training"
    if normalization is not None:
        mean, std = (
            ", ".join(f"{float(number):.4g}" for number in numbers)
            for numbers in (normalization.mean, normalization.std)
        )
        standardized = f"(pixel / white - mean) / std, mean {mean}, std {std}"
    return (
        f"It takes float32 images of {height} x {width} x {channels}, "
        f"{standardized}."
    )


def _check_backend(settings):
    """Refuses formats that the backend cannot write."""
    backend = keras.config.backend()
    needed = {"saved-model": ("tensorflow", "jax"), "torch": ("torch",)}
    backends = needed.get(settings.format, (backend,))
    if backend not in backends:
        raise ValueError(
            f"`format={settings.format}` must be written with KERAS_BACKEND="
            f"{' or '.join(backends)}. Received: KERAS_BACKEND={backend}"
        )
