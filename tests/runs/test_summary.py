"""The table that a run prints before it starts."""

import keras
import pytest

import keras_clmae
from keras_clmae.kernels import bfloat16
from keras_clmae.runs import pretraining
from keras_clmae.runs.settings import Settings
from keras_clmae.runs.settings import read_settings
from keras_clmae.runs.summary import opening_rows
from tests.once import ONCE

for module in ("jsonargparse", "rich", "sklearn"):
    pytest.importorskip(module)
if keras.backend.backend() != "torch":
    pytest.skip("the same on every backend", allow_module_level=True)

SIZES = {
    "patch_size": 2,
    "hidden_dim": 8,
    "num_layers": 1,
    "num_heads": 2,
    "decoder_hidden_dim": 12,
    "decoder_num_layers": 2,
    "decoder_num_heads": 3,
}
MASKING = {"num_layers": 1, "num_heads": 4}


@pytest.fixture
def open_run(monkeypatch, tmp_path, capsys):
    """Runs everything up to the training; gives what was printed."""
    monkeypatch.setenv("COLUMNS", "120")
    for name in ("train_from", "save_model", "draw_run_figures"):
        monkeypatch.setattr(pretraining, name, lambda *_, **__: None)

    def open_run(**settings):
        number = len(list(tmp_path.iterdir()))
        model = pretraining.run(
            Settings(
                run_dir=str(tmp_path / str(number)),
                model=SIZES,
                masking_module=MASKING,
                batch_size=64,
                epochs=3,
                warmup_epochs=1,
                **settings,
            )
        )
        return model, capsys.readouterr().out

    open_run.newest = lambda: max(tmp_path.iterdir())
    return open_run


@ONCE
def test_the_opening_table_has_its_rows(open_run):
    model, printed = open_run(masking_learning_rate=0.01)
    rows = {}
    for line in printed.splitlines():
        cells = [cell.strip() for cell in line.strip("│").split("│")]
        if len(cells) == 2:
            rows[cells[0]] = cells[1]
    parts = {
        "model": model,
        "encoder": model.encoder,
        "decoder": model.autoencoder.decoder,
        "masking module": model.masking_module,
    }
    for name, part in parts.items():
        assert f"{part.count_params():,} parameters" in rows[name], name
    expected = {
        "model": "CL-MAE",
        "data": "digits: 1,438 images of 8 x 8 x 1",
        "encoder": "1 layer of width 8, 2 heads, patches of 2",
        "decoder": "2 layers of width 12, 3 heads",
        "masking module": "1 layer, 4 heads",
        "curriculum": "linear, from +1 to -1",
        "tokens": "16, of which 4 stay visible",
        "backend": f"Keras {keras.__version__} on torch",
        "precision": "float32",
        # Whatever they are called.
        "devices": "",
        "steps": "66: 3 epochs of 22 steps of 64 images",
        "learning rate": "up to 0.00025, 1 epoch of warm-up",
        "time": "an estimate follows after the first steps",
    }
    for name, text in expected.items():
        assert rows[name] and text in rows[name], name


@ONCE
def test_nothing_is_printed_when_nothing_is_asked_for(open_run):
    _, printed = open_run(verbose=0)
    assert printed == ""
    # Plain MAE has no masking module.
    _, printed = open_run(method="mae")
    assert "random masks" in printed and "masking module" not in printed


@pytest.mark.parametrize("fast", [False, True])
def test_precision_by_what_is_fast(open_run, monkeypatch, fast):
    reason = "the processor says so"
    monkeypatch.setattr(bfloat16, "bfloat16_is_fast", lambda: fast)
    monkeypatch.setattr(pretraining, "describe_bfloat16", lambda: reason)
    model, printed = open_run(precision="auto")
    chosen = "mixed_bfloat16" if fast else "float32"
    assert f"{chosen}: {reason}" in " ".join(printed.split())
    assert model.encoder.dtype_policy.name == chosen
    # As it goes on, wherever it does.
    assert read_settings(str(open_run.newest())).precision == chosen


@keras.saving.register_keras_serializable(package="tests_summary")
class LinearMasker(keras.layers.Layer):
    """The masking layer of CONTRIBUTING: it has no layers and no heads."""

    def build(self, tokens_shape):
        self.score = keras.layers.Dense(
            1, activation="sigmoid", dtype="float32", name="score"
        )
        self.score.build(tokens_shape)

    def call(self, tokens):
        return keras.ops.squeeze(self.score(tokens), axis=-1)


@ONCE
def test_a_masking_layer_of_the_users_own(tmp_path):
    model = keras_clmae.models.CLMAE.from_sizes(
        masking_module=LinearMasker(name="masking_module"),
        image_shape=(8, 8, 1),
        **SIZES,
    )
    settings = Settings(run_dir=str(tmp_path), model=SIZES, epochs=1)
    rows = opening_rows(
        settings,
        keras_clmae.distribution.current_plan(),
        model,
        keras_clmae.data.digits(64),
        keras_clmae.callbacks.TrainingPosition(),
        1e-3,
    )
    # A weight for each of 8 units, and a bias.
    assert rows["masking module"] == "9 parameters: LinearMasker"
