"""Names that others do not promise: where each is used, what breaks without.

Keras, JAX, PyTorch, TensorFlow and tf2onnx may drop what begins with an
underscore, or is not in their documentation, in any version. A new version is
tried by this file first; `pyproject.toml` admits no minor version of Keras that
has not been.
"""

import argparse
import ast
import importlib
import importlib.util
import pathlib

import keras
import pytest

from tests.once import ONCE

BACKEND = keras.backend.backend()
PACKAGE = pathlib.Path(__file__).parents[1] / "keras_clmae"


def built_adamw():
    optimizer = keras.optimizers.AdamW(amsgrad=True)
    optimizer.build([keras.Variable([0.0], name="variable")])
    return optimizer


def compiled_model():
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    return model


def data_parallel():
    return keras.distribution.DataParallel(
        device_mesh=keras.distribution.DeviceMesh((1,), ["batch"], ["cpu:0"])
    )


def module(name):
    return lambda: importlib.import_module(name)


# The object that has the name, the name, where it is used, what breaks.
EVERYWHERE = [
    (
        compiled_model,
        "_flatten_layers",
        "trainers/base",
        "`compile` cannot refuse a layer that computes in float16",
    ),
    (
        compiled_model,
        "_flatten_metrics_in_order",
        "trainers/base, trainers/torch_trainer",
        "`evaluate` has no list of numbers in Keras's order",
    ),
    (
        lambda: keras.callbacks.CallbackList([]),
        "callbacks",
        "trainers/terminate_on_non_finite",
        "a `CallbackList` given to `fit` cannot take the guard",
    ),
    (
        lambda: keras.callbacks.CSVLogger("never_written.csv"),
        "keys",
        "the log of a run folder",
        "a resumed run writes the columns of log.csv in another order",
    ),
    (
        built_adamw,
        "_use_weight_decay",
        "optimizers/base_adamw, optimizers/lars",
        "biases, norms and position tables are decayed",
    ),
    (
        built_adamw,
        "_apply_weight_decay",
        "optimizers/base_adamw, optimizers/lars",
        "the decay is applied twice on TensorFlow, unscaled by layer elsewhere",
    ),
    (
        built_adamw,
        "_backend_update_step",
        "optimizers/tensorflow_adamw, optimizers/torch_adamw",
        "Keras's own slow update runs, without the layers' rates",
    ),
    (
        built_adamw,
        "_get_variable_index",
        "optimizers",
        "no state is found for a variable",
    ),
    (
        built_adamw,
        "_trainable_variables",
        "optimizers/tensorflow_adamw",
        "a replica's copy is not led back to its variable",
    ),
    (
        built_adamw,
        "_variables",
        "trainers/player_optimizers",
        "checkpoints hold the state of both optimizers twice",
    ),
    (
        lambda: argparse.ArgumentParser(),
        "_actions",
        "cli/parsing",
        "a mistyped option is refused without the option that was meant",
    ),
    (
        built_adamw,
        "_momentums",
        "optimizers/tensorflow_adamw, optimizers/torch_adamw",
        "the fused kernels find no first moments",
    ),
    (
        built_adamw,
        "_velocities",
        "optimizers/tensorflow_adamw, optimizers/torch_adamw",
        "the fused kernels find no second moments",
    ),
    (
        built_adamw,
        "_velocity_hats",
        "optimizers/torch_adamw",
        "AMSGrad has no state in the fused kernel",
    ),
]
ON = {
    "jax": [
        (
            lambda: keras.Variable([0.0]),
            "_value",
            "distribution/jax_engine",
            "one of several processes cannot write the whole model to a file",
        ),
        (
            data_parallel,
            "_is_multi_process",
            "data/sharding",
            "`auto_shard_dataset` and the data sets both deal images out",
        ),
        (
            lambda: keras.callbacks.OrbaxCheckpoint,
            "_save_checkpoint",
            "callbacks/hosts_checkpoint",
            "nothing is saved in the middle of an epoch",
        ),
        # Replaced while `keras.distribution.initialize` runs, which hands no
        # heartbeat on and, beside it, agrees on one random seed. To call JAX
        # instead and agree on a seed takes Keras's private global seed.
        (
            lambda: module("keras.src.backend.jax.distribution_lib")().jax,
            "distributed",
            "distribution/jax_engine, patches `jax.distributed.initialize`",
            "JAX notices a dead process after 100 seconds instead of 30",
        ),
    ],
    "tensorflow": [
        (
            compiled_model,
            "_maybe_symbolic_build",
            "trainers/tensorflow_trainer",
            "under a strategy a batch of the first epoch is lost",
        ),
        (
            compiled_model,
            "_distribute_strategy",
            "trainers/tensorflow_trainer",
            "a model does not know whether it was made under a strategy",
        ),
        (
            compiled_model,
            "_loss_tracker",
            "trainers/tensorflow_trainer",
            "plain MAE on several devices logs no loss",
        ),
        (
            compiled_model,
            "_compute_loss",
            "trainers/tensorflow_trainer",
            "the validation loss is multiplied by the number of devices",
        ),
        # Replaced on the optimizers of several replicas: Keras sums gradients
        # after it clipped those of each replica, and has no switch; the step
        # averages them before.
        (
            built_adamw,
            "_all_reduce_sum_gradients",
            "trainers/tensorflow_trainer, patched",
            "gradients of several devices are added up twice",
        ),
    ],
    "torch": [
        (
            compiled_model,
            "_loss_tracker",
            "trainers/torch_trainer",
            "plain MAE in several processes logs no loss",
        ),
        (
            compiled_model,
            "_should_torch_compile",
            "trainers/torch_trainer",
            "`jit_compile=True` traces the whole step, for minutes",
        ),
        (
            module("torch._dynamo.config"),
            "patch",
            "kernels/torch_kernels",
            "PyTorch gives up compiling after eight widths of blocks",
        ),
        (
            module("torch._dynamo.config"),
            "recompile_limit",
            "kernels/torch_kernels",
            "PyTorch gives up compiling after eight widths of blocks",
        ),
        (
            module("torch._dynamo"),
            "maybe_mark_dynamic",
            "kernels/torch_kernels",
            "each number of tokens is compiled by itself",
        ),
        (
            lambda: module("torch")().Tensor,
            "_is_view",
            "kernels/torch_kernels",
            "blocks fail to compile for tokens that are a slice",
        ),
        (
            module("torch.optim.adam"),
            "adam",
            "optimizers/torch_adamw",
            "the optimizer has no fused kernel: an update takes six times",
        ),
    ],
}


def label(row):
    return row[1]


@pytest.mark.parametrize("row", EVERYWHERE + ON[BACKEND], ids=label)
def test_it_exists(row):
    owner, name, used_in, what_breaks = row
    assert hasattr(owner(), name), f"{used_in}: {what_breaks}"


@ONCE
def test_keras_asks_callbacks_whether_they_are_async_safe():
    # trainers/progress and trainers/terminate_on_non_finite say so: or else
    # `fit` waits for the numbers of each step.
    name = "keras.src.callbacks.callback_list"
    source = pathlib.Path(importlib.util.find_spec(name).origin)
    assert '"async_safe"' in source.read_text(encoding="utf-8")


@ONCE
def test_where_keras_keeps_the_optimizers_of_a_backend():
    # trainers/base renames it in saved files: or else a model that was saved on
    # PyTorch would load nowhere else.
    optimizer = keras.optimizers.AdamW()
    assert type(optimizer).__module__.startswith("keras.src.")
    config = keras.saving.serialize_keras_object(optimizer)
    assert config["class_name"] == "AdamW"
    assert hasattr(keras.optimizers, config["class_name"])


@pytest.mark.skipif(BACKEND != "tensorflow", reason="tf2onnx is of TensorFlow")
def test_tf2onnx_takes_operations():
    # conversion/serving teaches it the one of the exact GELU; without, an
    # export to ONNX fails. In another process: it changes TensorFlow's state.
    spec = importlib.util.find_spec("tf2onnx")
    handler = pathlib.Path(spec.origin).parent / "handler.py"
    text = handler.read_text()
    assert "class tf_op" in text
    assert "def get_opsets" in text


@ONCE
def test_no_other_is_used():
    known = {row[1] for rows in (EVERYWHERE, *ON.values()) for row in rows}
    # Documented with an underscore: of named tuples.
    known |= {"_replace", "_asdict", "_fields", "_make"}
    used, own = {}, set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                own.add(node.name)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                own.add(node.id)
            elif isinstance(node, ast.Attribute) and _is_private(node.attr):
                on_self = getattr(node.value, "id", None) == "self"
                if on_self and isinstance(node.ctx, ast.Store):
                    own.add(node.attr)
                else:
                    used.setdefault(node.attr, path.name)
    foreign = {name: at for name, at in used.items() if name not in own}
    # `os._exit` is documented.
    unknown = foreign.keys() - known - {"_dynamo", "_exit"}
    assert not unknown, {name: foreign[name] for name in unknown}


def _is_private(name):
    return name.startswith("_") and not name.startswith("__")
