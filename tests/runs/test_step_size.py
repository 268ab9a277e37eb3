"""`runs.step_size` against models that are built."""

import importlib
import pathlib
import sys

import numpy as np
import pytest

from keras_clmae.models import CLMAE
from keras_clmae.models import MaskingModule
from keras_clmae.models.presets import PRESETS
from keras_clmae.runs.step_size import step_size
from tests.once import ONCE

SCRIPTS = pathlib.Path(__file__).parents[2] / "scripts"

pytestmark = ONCE


def load(monkeypatch, name):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    # Another test may have loaded a module of this name.
    monkeypatch.delitem(sys.modules, name, raising=False)
    return importlib.import_module(name)


def number_of_parameters(variables):
    return sum(int(np.prod(variable.shape)) for variable in variables)


def bytes_kept(model, images, frozen, loss_of):
    """Bytes of other things than weights that a forward pass keeps."""
    import torch
    from torch.nn.attention import SDPBackend
    from torch.nn.attention import sdpa_kernel

    weights = {variable.value.data_ptr() for variable in model.variables}
    kept = {}

    def keep(tensor):
        if tensor.data_ptr() not in weights:
            # Query, key and value are parts of one. Held, so that no other
            # tensor gets its place.
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    for variable in frozen:
        variable.value.requires_grad_(False)
    with (
        sdpa_kernel(SDPBackend.FLASH_ATTENTION),
        torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x),
    ):
        loss_of(torch.from_numpy(images))
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


@pytest.mark.parametrize("checkpointing", [False, True])
def test_against_a_built_model(checkpointing):
    sizes = step_size("tiny_patch4_32")
    model = CLMAE.from_preset(
        "clmae_tiny_patch4_32",
        load_weights=False,
        gradient_checkpointing=checkpointing,
    )
    assert sizes.autoencoder_parameters == number_of_parameters(
        model.autoencoder_variables
    )
    assert sizes.masking_parameters == number_of_parameters(
        model.masking_variables
    )
    images = np.zeros((4, 32, 32, 3), "float32")
    masking = bytes_kept(
        model,
        images,
        model.autoencoder_variables,
        lambda x: model.masking_loss(x, 1.0),
    )
    measured = masking / len(images)
    estimated = sizes.bytes_per_image[checkpointing, 4]
    if checkpointing:
        # The block that is computed anew keeps nothing in the forward pass.
        estimated -= 4 * 16 * 192 * 65
    assert 0.7 * measured < estimated < 1.4 * measured


@pytest.mark.parametrize("preset", PRESETS)
def test_parameters_of_all_presets(preset):
    """One block of each kind is built; the others are as large."""
    model = CLMAE.from_preset(
        f"clmae_{preset}",
        load_weights=False,
        num_layers=1,
        decoder_num_layers=1,
        masking_module=MaskingModule(num_layers=1, name="masking_module"),
    )
    assert model.encoder.num_heads == PRESETS[preset]["num_heads"]

    def whole(variables, *more):
        return number_of_parameters(variables) + sum(
            count * number_of_parameters(part.blocks[0].trainable_variables)
            for part, count in more
        )

    autoencoder = whole(
        model.autoencoder_variables,
        (model.encoder, PRESETS[preset]["num_layers"] - 1),
        (model.autoencoder.decoder, PRESETS[preset]["decoder_num_layers"] - 1),
    )
    masking = whole(
        model.masking_variables,
        (model.masking_module, MaskingModule().num_layers - 1),
    )
    sizes = step_size(preset)
    assert sizes.autoencoder_parameters == autoencoder
    assert sizes.masking_parameters == masking
    row = f"| `{preset}` | {autoencoder / 1e6:.1f} M | {masking / 1e6:.1f} M |"
    table = SCRIPTS.parent / "docs" / "many_devices.md"
    assert row in table.read_text(encoding="utf-8")


def test_work_of_published_sizes():
    sizes = step_size("base_patch16_224")
    # torch.utils.flop_counter counts 210.42 GFLOP for the published code, and
    # tests/trainers/test_counted_work.py less than 0.95 of it for ours.
    assert 0.75 * 210.42e9 < sizes.flop_per_image < 0.95 * 210.42e9


def test_predicted_communication(monkeypatch):
    scaling = load(monkeypatch, "benchmark_scaling")
    seconds = scaling.communication_seconds
    # One node of 8: 2 * 7 / 8 of the bytes at 1e9 bytes/s.
    assert seconds(8e9, 8, 8, 1e9, 1e9, 0.0) == pytest.approx(14.0)
    # Two nodes: besides, an eighth of the bytes once between them.
    assert seconds(8e9, 16, 8, 1e9, 1e9, 0.0) == pytest.approx(15.0)
    assert seconds(8e9, 16, 8, 1e9, 1e9, 1e-3) > 15.0
    # The gradients of 8 million weights, and little of every image.
    size = step_size("tiny_patch4_32")
    assert 30e6 < scaling.communicated_bytes(size, 4) < 40e6
