"""What scripts/pretrain.py says before a run starts."""

import importlib
import pathlib

import keras
import pytest

for module in ("jsonargparse", "rich", "sklearn"):
    pytest.importorskip(module)
if keras.backend.backend() != "torch":
    pytest.skip("the same on every backend", allow_module_level=True)

SCRIPTS = pathlib.Path(__file__).parents[2] / "scripts"
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
    monkeypatch.syspath_prepend(SCRIPTS)
    monkeypatch.setenv("COLUMNS", "120")
    pretrain, pretraining = map(
        importlib.import_module, ("pretrain", "pretraining")
    )
    for name in ("train_from", "save_whole", "draw_pictures"):
        monkeypatch.setattr(pretraining, name, lambda *_, **__: None)

    def open_run(**settings):
        number = len(list(tmp_path.iterdir()))
        model = pretraining.run(
            pretrain.Settings(
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

    return open_run


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
        "encoder": "1 layers of width 8, 2 heads, patches of 2",
        "decoder": "2 layers of width 12, 3 heads",
        "masking module": "1 layers, 4 heads",
        "curriculum": "linear, from +1 to -1",
        "tokens": "16, of which 4 stay visible",
        "backend": f"Keras {keras.__version__} on torch",
        "precision": "float32",
        # Whatever they are called.
        "devices": "",
        "steps": "66: 3 epochs of 22 steps of 64 images",
        "learning rate": "up to 0.00025, 1 epochs of warm-up",
        "time": "an estimate follows after the first steps",
    }
    for name, text in expected.items():
        assert rows[name] and text in rows[name], name


def test_nothing_is_printed_when_nothing_is_asked_for(open_run):
    _, printed = open_run(verbose=0)
    assert printed == ""
    # Plain MAE has no masking module.
    _, printed = open_run(method="mae")
    assert "random masks" in printed and "masking module" not in printed
