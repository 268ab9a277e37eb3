"""`search` and `anomaly`: figures, names and numbers."""

import csv

import numpy as np
import pytest

from keras_clmae import cli
from keras_clmae import runs
from keras_clmae.runs.ranking import Highest
from tests.data.pictures import save_picture
from tests.drawn import drawn_panels
from tests.once import ONCE
from tests.tiny_models import tiny_autoencoder
from tests.tiny_models import tiny_clmae

for module in ("jsonargparse", "matplotlib", "tensorflow"):
    pytest.importorskip(module)

pytestmark = ONCE


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "model.keras"
    tiny_autoencoder(image_shape=(8, 8, 3)).save(path)
    return str(path)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for seed in range(5):
        save_picture(folder / f"{seed}.png", seed=seed)
    return folder


@pytest.mark.filterwarnings("ignore:Tight layout")
def test_search(model, photos, tmp_path, capsys):
    # The same picture as a file of another kind.
    query = tmp_path / "query.bmp"
    save_picture(query, seed=3)
    found = cli.run(
        ["search", model, str(photos), str(query), "--count=3"]
        + [f"--output={tmp_path}/found.png", "--verbose=0", "--batch_size=2"]
    )
    (name, similarity), *others = found
    assert name == "3.png" and similarity == pytest.approx(1, abs=1e-4)
    assert len(others) == 2 and others[0][1] >= others[1][1]
    assert f"{similarity:.3f}  3.png" in capsys.readouterr().out
    # The image that is looked for, and three others.
    assert drawn_panels(tmp_path / "found.png")[1] == 4
    again = runs.search(model, photos, query, count=3, verbose=0)
    assert [name for name, _ in again] == [name for name, _ in found]


def test_query_that_is_no_image(model, photos, tmp_path, capsys):
    query = tmp_path / "query.png"
    for content, status in (None, 2), (b"text", 1):
        if content:
            query.write_bytes(content)
        with pytest.raises(SystemExit) as ended:
            cli.run(["search", model, str(photos), str(query), "--verbose=0"])
        assert ended.value.code == status
        assert "error: `query` must be an image" in capsys.readouterr().err


def test_anomaly(model, photos, tmp_path, capsys):
    output = tmp_path / "anomalies"
    scored = cli.run(
        ["anomaly", model, str(photos), f"--output={output}", "--verbose=0"]
        + ["--batch_size=2", "--count=3"]
    )
    scores = [score for _, score in scored]
    assert scores == sorted(scores, reverse=True)
    assert sorted(name for name, _ in scored) == [f"{n}.png" for n in range(5)]
    with open(output / "scores.csv", encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["name", "max_patch_error"]
    assert [(name, float(score)) for name, score in rows] == [
        (name, pytest.approx(score)) for name, score in scored
    ]
    # Three images above their maps; the scale is thin.
    assert drawn_panels(output / "highest.png")[1] == 6
    means = runs.anomaly(model, photos, output, score="mean", verbose=0)
    assert max(score for _, score in means) < scores[0]


def test_anomaly_of_learned_masks(photos, tmp_path):
    tiny_clmae(image_shape=(8, 8, 3)).save(tmp_path / "clmae.keras")
    found = runs.anomaly(
        tmp_path / "clmae.keras", photos, tmp_path / "out", verbose=0
    )
    assert len(found) == 5 and all(score > 0 for _, score in found)


def test_anomaly_needs_a_decoder(photos, tmp_path, capsys):
    tiny_autoencoder(image_shape=(8, 8, 3)).encoder.save(tmp_path / "e.keras")
    with pytest.raises(SystemExit):
        cli.run(["anomaly", str(tmp_path / "e.keras"), str(photos)])
    assert "must hold a whole MaskedAutoencoder" in capsys.readouterr().err


def test_highest_of_a_stream():
    highest = Highest(2)
    highest.update(np.array([1.0, 3.0]), ["a", "b"])
    highest.update(np.array([3.0, 2.0, 0.0]), ["c", "d", "e"])
    assert highest.values.tolist() == [3, 3]
    assert highest.columns() == (("b", "c"),)
