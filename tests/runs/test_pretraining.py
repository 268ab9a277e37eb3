"""A run from Python: the same folder and resume as the command."""

import keras
import pytest

from keras_clmae import runs
from keras_clmae.runs.building import build_model
from tests.once import ONCE

for module in ("sklearn", "tensorboardX", "matplotlib", "yaml"):
    pytest.importorskip(module)

SIZES = {
    "patch_size": 4,
    "hidden_dim": 8,
    "num_layers": 1,
    "num_heads": 2,
    "decoder_hidden_dim": 8,
    "decoder_num_layers": 1,
    "decoder_num_heads": 2,
}


@ONCE
def test_a_run_and_its_resume(tmp_path):
    run_dir = str(tmp_path / "run")
    settings = {"model": SIZES, "method": "mae", "batch_size": 512}
    model = runs.pretrain(run_dir=run_dir, epochs=2, verbose=0, **settings)
    with pytest.raises(ValueError, match="`run_dir` holds a run already"):
        runs.pretrain(run_dir=run_dir, **settings)
    # Nothing is left to do: the model comes back as it was.
    again = runs.pretrain(run_dir=run_dir, resume=True)
    for one, other in zip(model.variables, again.variables, strict=True):
        assert keras.ops.all(one.value == other.value)
    assert runs.read_settings(run_dir).epochs == 2
    with pytest.raises(ValueError, match="of the run to resume"):
        runs.pretrain(run_dir=str(tmp_path / "none"), resume=True)


@ONCE
@pytest.mark.parametrize("preset", ["tiny_patch4_32", "mae_tiny_patch4_32"])
def test_a_size_by_its_name(preset):
    sizes = {"num_layers": 1, "decoder_num_layers": 1}
    settings = runs.Settings("run", method="mae", preset=preset, model=sizes)
    assert build_model(settings, (32, 32, 3)).encoder.hidden_dim == 192
