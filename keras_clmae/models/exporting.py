import keras


class ExportsForServing:
    """Mixin of models of images: `export`, with a free batch size.

    Keras's own `export`, helped where its tools stop at a Vision Transformer.
    What works on which backend is in docs/conversion.md.
    """

    def export(self, filepath, format="tf_saved_model", **options):
        """Writes the model for serving, without its Python code.

        Args:
            filepath: path to write: a folder for `"tf_saved_model"`, else a
                file.
            format: `"tf_saved_model"`, `"onnx"`, or `"torch"` (PyTorch only).
            **options: further arguments of `keras.Model.export`.

        Example:

        ```python
        model.encoder.export("encoder.onnx", format="onnx")
        ```
        """
        # Imported here: it needs the tool of the format.
        from keras_clmae.conversion import serving

        on_torch = keras.backend.backend() == "torch"
        if options.get("input_signature") is None:
            options.pop("input_signature", None)
            if format == "onnx" and on_torch:
                return serving.export_onnx_by_torch(self, filepath, **options)
            options["input_signature"] = [serving.images_of(self)]
        options = serving.export_options(format, options)
        return super().export(filepath, format=format, **options)
