"""A study: what is run, what is skipped, and the sums in its table."""

import importlib
import json
import math
import pathlib

import pytest

from keras_clmae import runs
from keras_clmae.callbacks import TrainingInterrupted
from keras_clmae.runs import study_record
from keras_clmae.runs.study_figure import study_figure
from keras_clmae.runs.study_settings import read_study
from keras_clmae.runs.study_table import paired_difference
from keras_clmae.runs.study_table import study_table
from keras_clmae.runs.studying import read_results
from tests.once import ONCE

for module in ("sklearn", "tensorboardX", "matplotlib", "yaml", "rich"):
    pytest.importorskip(module)
pytestmark = ONCE

SHIPPED = pathlib.Path(__file__).parents[2] / "docs" / "studies"

STUDY = """
recipe: digits
seeds: [4]
baseline: mae
protocols: {knn: {k: 1}, knn_leave_one_out:, knn_leave_one_out_train:,
            few_shot: {shots: [1]}}
settings:
  epochs: 2
  batch_size: 719
  model:
    {patch_size: 4, hidden_dim: 8, num_layers: 1, num_heads: 2,
     decoder_hidden_dim: 8, decoder_num_layers: 1, decoder_num_heads: 2}
methods:
  untrained: {method: mae, epochs: 0}
  mae: {method: mae, epochs: 1}
  recommended:
"""


def result(name, seed, knn, seconds=0.0, **more):
    return {
        "name": name,
        "seed": seed,
        "scores": {"knn": knn},
        "settings": {},
        "backend": "jax",
        "processor": "a processor",
        "steady_processor_seconds": seconds,
        **more,
    }


RESULTS = [
    result("mae", 0, 0.80, 10.0, epochs=2),
    result("mae", 1, 0.82, 12.0, epochs=2),
    result("mae", 2, 0.84, 14.0, epochs=2),
    result("clmae", 0, 0.83, 11.0, epochs=2, mask_difficulty=[0.8, 0.6, 1.2]),
    result("clmae", 1, 0.83, 11.0, epochs=2, mask_difficulty=[0.9, 0.7, 1.0]),
    result("clmae", 2, 0.88, 11.0, epochs=2, mask_difficulty=[0.7, 0.8, 1.1]),
    result("untrained", 0, 0.50),
]


def test_paired_differences_by_hand():
    # 3, 1 and 4: mean 8/3, variance ((1/3)^2 + (5/3)^2 + (4/3)^2) / 2 = 7/3.
    found = paired_difference({0: 83, 1: 83, 2: 88}, {0: 80, 1: 82, 2: 84})
    # The 97.5 % quantile of Student's t with 2 degrees of freedom is 4.3027.
    half = 4.3027 * math.sqrt(7 / 3 / 3)
    assert found.mean == pytest.approx(8 / 3)
    assert found.low == pytest.approx(8 / 3 - half, abs=1e-4)
    assert found.high == pytest.approx(8 / 3 + half, abs=1e-4)
    assert found.pairs == 3
    # Of different seeds nothing is known; of one, no interval.
    assert paired_difference({0: 1}, {1: 1}) is None
    single = paired_difference({0: 1, 1: 5}, {1: 3})
    assert single.mean == 2 and math.isnan(single.low) and single.pairs == 1


def test_the_table_by_hand():
    lines = study_table(RESULTS, ["mae"]).splitlines()
    assert lines[0] == "### jax: a processor"
    rows = {line.split(" | ")[0][2:]: line for line in lines[4:]}
    assert rows == {
        "mae": "| mae | 3 | 2 | 12 ± 2 | 82.0 ± 2.0 |  |",
        "clmae": "| clmae | 3 | 2 | 11 ± 0 | 84.7 ± 2.9<br>"
        "+2.7 (-1.1 to +6.5) | 0.80, 0.67, 1.10 |",
        "untrained": "| untrained | 1 | 0 |  | 50.0<br>-30.0 |  |",
    }
    # With several baselines each has its name.
    table = study_table(RESULTS, ["mae", "untrained"])
    assert "<br>mae: +2.7 (-1.1 to +6.5)<br>untrained: +33.0 |" in table


def test_the_figure_has_points_and_spread():
    figure = study_figure(RESULTS, "knn", ["mae"])
    (axis,) = figure.axes
    texts = {text.get_text(): text.xy for text in axis.texts}
    assert texts["clmae"] == pytest.approx((11, 84 + 2 / 3))
    assert texts["mae"] == pytest.approx((12, 82))
    assert axis.get_xlabel() == "processor seconds of the training"
    assert axis.get_ylabel() == "k-NN, %"
    # Not trained: a line over all times.
    assert texts["untrained"][1] == 50
    assert len(axis.containers) == 2


def test_runs_skips_and_resumes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.yaml").write_text(STUDY)

    def stop(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(study_record, "score", stop)
        with pytest.raises(KeyboardInterrupt):
            runs.study("small.yaml", methods=["mae"])
    # Trained but not scored: nothing is trained again.
    folder = tmp_path / "runs" / "studies" / "small" / "mae_seed4_torch"
    assert not (tmp_path / "small").exists() and folder.exists()
    log = (folder / "log.csv").read_text()
    (record,) = runs.study("small.yaml", methods=["mae"])
    assert not folder.exists()
    stored = json.loads((tmp_path / "small" / f"{name(record)}").read_text())
    assert stored == record
    header, row = (line.split(",") for line in log.splitlines())
    seconds = float(row[header.index("processor_seconds")])
    assert record["processor_seconds"] == pytest.approx(seconds, abs=0.01)
    scores = record["scores"]
    assert list(scores) == [
        "knn",
        "knn_leave_one_out",
        "knn_leave_one_out_train",
        "few_shot_1",
    ]
    # Of 1,797 images and of 1,438.
    for protocol, count in (("", 1797), ("_train", 1438)):
        right = scores[f"knn_leave_one_out{protocol}"] * count
        assert right == pytest.approx(round(right), abs=1e-3)

    records = runs.study("small.yaml")
    assert [each["name"] for each in records] == [
        "untrained",
        "mae",
        "recommended",
    ]
    assert len(records[2]["mask_difficulty"]) == 2
    assert records[0]["scores"]["knn"] > 0.2
    assert (tmp_path / "small" / "figure.png").stat().st_size > 5_000
    # All have their files: nothing is run.
    monkeypatch.setattr(study_record, "run", stop)
    monkeypatch.setattr(study_record, "score", stop)
    assert runs.study("small.yaml") == records
    table = (tmp_path / "small" / "table.md").read_text()
    assert "| recommended | 1 | 2 |" in table
    # A result of other settings is not mixed with the study's.
    changed = STUDY.replace("batch_size: 719", "batch_size: 64")
    (tmp_path / "small.yaml").write_text(changed)
    with pytest.raises(ValueError, match="batch_size=719; the study has"):
        runs.study("small.yaml")


def name(record):
    return f"{record['name']}_seed{record['seed']}_{record['backend']}.json"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("seeds: [4]", "seeds: [x]"), "`seeds` must be integers"),
        (("seeds: [4]", "seeds: []"), "`seeds` must be a list that"),
        (("seeds: [4]", "seed: [4]"), "Did you mean 'seeds'"),
        (("baseline: mae", "baseline: mea"), "Did you mean 'mae'"),
        (("{knn: {k: 1}", "{knm: {k: 1}"), "Did you mean 'knn'"),
        (("{k: 1}", "{n: 1}"), "`knn` must be among k, protocol"),
        (("epochs: 1}", "epoch: 1}"), "Method 'mae': .*mean 'epochs'"),
    ],
)
def test_a_wrong_file(tmp_path, change, message):
    path = tmp_path / "small.yaml"
    path.write_text(STUDY.replace(*change))
    with pytest.raises(ValueError, match=message):
        read_study(path).planned_runs()


def test_nothing_to_sum_up(tmp_path):
    path = tmp_path / "small.yaml"
    path.write_text(STUDY)
    with pytest.raises(ValueError, match="the result of at least one run"):
        runs.study(path, table_only=True)
    with pytest.raises(ValueError, match="YAML file of a study"):
        runs.study(tmp_path / "none.yaml")


def test_how_to_go_on_with_the_same_part(tmp_path, capsys, monkeypatch):
    cli = pytest.importorskip("keras_clmae.cli")
    studying = importlib.import_module("keras_clmae.runs.studying")
    path = tmp_path / "my study.yaml"
    path.write_text(STUDY)

    def stopped(*arguments):
        raise TrainingInterrupted("Stopped on request")

    monkeypatch.setattr(studying, "run_study", stopped)
    with pytest.raises(SystemExit):
        cli.run(["study", str(path), "--methods", "mae", "--seeds", "4"])
    assert capsys.readouterr().err == (
        "Stopped on request. Go on with: keras-clmae study "
        f"'{path}' --methods mae --seeds 4\n"
    )


@pytest.mark.parametrize(
    "path", sorted(SHIPPED.glob("*.yaml")), ids=lambda path: path.stem
)
def test_shipped_studies_can_be_planned_and_their_tables_are_current(path):
    settings = read_study(path)
    planned = settings.planned_runs()
    assert len(planned) == len(settings.methods) * len(settings.seeds)
    table = SHIPPED / path.stem / "table.md"
    if table.exists():
        records = read_results(settings)
        for record in records:
            study_record.check_same_protocols(settings, record, path.stem)
        written = study_table(records, settings.baselines)
        assert table.read_text(encoding="utf-8") == written


def test_sizes_of_a_method_change_those_of_the_recipe(tmp_path):
    path = tmp_path / "sizes.yaml"
    path.write_text(
        STUDY.replace("recommended:", "wide: {model: {hidden_dim: 32}}")
    )
    runs_ = read_study(path).planned_runs()
    sizes = {run.method: run.settings.model for run in runs_}
    assert sizes["wide"] == {**sizes["mae"], "hidden_dim": 32}
    text = path.read_text()
    path.write_text(text.replace("hidden_dim: 32", "hidden_dims: 3"))
    with pytest.raises(ValueError, match="'wide': .* Did you mean 'hidden_dim"):
        runs.study(path)
    path.write_text(
        "{seeds: [0], methods: {a: {method: mae, data: digits, "
        "model: {patch_size: 2}}}}"
    )
    with pytest.raises(ValueError, match="without hidden_dim, num_layers"):
        runs.study(path)
    assert not (tmp_path / "sizes").exists()


def test_other_protocols_are_refused(tmp_path):
    settings = read_study(SHIPPED / "digits.yaml")
    record = {"scores": {"knn": 0.5, "few_shot_1": 0.1, "few_shot_16": 0.2}}
    settings.protocols = {"few_shot": {"shots": [1, 16]}, "knn": {}}
    study_record.check_same_protocols(settings, record, "old.json")
    settings.protocols["logistic_probe"] = {}
    with pytest.raises(ValueError, match="'old.json' must have the study's"):
        study_record.check_same_protocols(settings, record, "old.json")
    record["protocols"] = {**settings.protocols, "knn": {"k": 5}}
    with pytest.raises(ValueError, match="'k': 5"):
        study_record.check_same_protocols(settings, record, "new.json")
    record["protocols"]["knn"] = {}
    study_record.check_same_protocols(settings, record, "new.json")
