"""Fill gaps of the backends' export tools for Vision Transformers.

Keras 3.15 writes every format by a tool of the backend's. Two of them stop
there; the rest of `model.export` is Keras's own.
"""

import keras
import numpy as np


def free_batch_options(format):
    """Returns arguments of Keras's `export` for a free batch size.

    Args:
        format: str. As `keras.Model.export` takes it.
    """
    if format == "torch" and keras.backend.backend() == "torch":
        return {"dynamic_shapes": _free_batch()}
    return {}


def images_of(model):
    """Makes the `keras.InputSpec` of a model, with a free batch size."""
    encoder = getattr(model, "encoder", model)
    return keras.InputSpec(
        shape=(None, *encoder.image_shape), dtype="float32", name="images"
    )


def export_onnx_by_torch(model, filepath, opset_version=None, verbose=None):
    """Writes ONNX on PyTorch with a free batch size.

    Keras takes the older, tracing exporter for free sizes, which fails at layer
    normalization; `torch.export` does not.

    Args:
        model: model of ours.
        filepath: str. Path of the .onnx file.
        opset_version: int. Defaults to `None`: PyTorch's choice.
        verbose: bool. As Keras takes it.
    """
    import torch

    # Two of them: one would be taken for a fixed size.
    images = keras.ops.zeros((2, *images_of(model).shape[1:]))
    model.eval()
    program = torch.export.export(
        model,
        (images,),
        dynamic_shapes=[(_free_batch(),)],
        strict=False,
    )
    onnx_program = torch.onnx.export(
        program,
        opset_version=opset_version,
        input_names=["images"],
        output_names=["outputs"],
        verbose=bool(verbose),
    )
    onnx_program.save(filepath)


def _free_batch():
    import torch

    return {0: torch.export.Dim("batch", min=1)}


def teach_tf2onnx():
    """Gives tf2onnx the operation of TensorFlow's exact GELU that it lacks."""
    import tf2onnx
    from tf2onnx.handler import tf_op

    if any("Erfc" in known for known in tf_op.get_opsets().get("", ())):
        return

    @tf_op("Erfc")
    class Erfc:
        @classmethod
        def version_9(cls, graph, node, **kwargs):
            # ONNX has Erf since opset 9, and erfc(x) = 1 - erf(x).
            output = node.output[0]
            described = {
                "shapes": [graph.get_shape(output)],
                "dtypes": [graph.get_dtype(output)],
            }
            one = graph.make_const(
                tf2onnx.utils.make_name("one"), np.ones((), "float32")
            )
            erf = graph.make_node("Erf", node.input)
            graph.remove_node(node.name)
            graph.make_node(
                "Sub",
                [one.output[0], erf.output[0]],
                name=node.name,
                outputs=node.output,
                **described,
            )
