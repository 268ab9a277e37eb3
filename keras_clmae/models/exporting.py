"""Export models for serving, with a free batch size."""

import keras

from keras_clmae.saving import serving


class ServingExportMixin:
    """Mixin of models of images: `export`, with a free batch size.

    Keras's own `export`, helped where its tools stop at a Vision Transformer.
    What works on which backend is in docs/conversion.md.
    """

    def export(
        self,
        filepath,
        format="tf_saved_model",
        verbose=None,
        input_signature=None,
        **kwargs,
    ):
        """Writes the model for serving, without its Python code.

        Args:
            filepath: str. Path to write: a folder for `"tf_saved_model"`, else
                a file.
            format: `"tf_saved_model"`, `"onnx"`, or `"torch"` (PyTorch only).
            verbose: bool. Whether to tell where it was written.
            input_signature: As `keras.Model.export` takes it. Defaults to
                `None`: any number of float32 images of the model's shape.
            **kwargs: Further arguments of `keras.Model.export`.

        Raises:
            ValueError: If the backend has no such format.
            ImportError: If the tool that writes it is not installed.

        Example:

        ```python
        model.encoder.export("encoder.onnx", format="onnx")
        ```
        """
        backend = keras.backend.backend()
        if format == "onnx" and backend == "tensorflow":
            serving.teach_tf2onnx()
        if input_signature is None:
            if format == "onnx" and backend == "torch":
                return serving.export_onnx_by_torch(
                    self, filepath, verbose=verbose, **kwargs
                )
            input_signature = [serving.images_of(self)]
            kwargs = {**serving.free_batch_options(format), **kwargs}
        return super().export(
            filepath,
            format=format,
            verbose=verbose,
            input_signature=input_signature,
            **kwargs,
        )
