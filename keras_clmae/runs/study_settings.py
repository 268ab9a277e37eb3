"""Read the file of a study: which runs it has, and how they are scored."""

import dataclasses
import itertools
import os
from typing import Any
from typing import NamedTuple

from keras_clmae.runs.checks import check_sizes
from keras_clmae.runs.checks import settings_of
from keras_clmae.runs.evaluation_settings import EvaluationSettings
from keras_clmae.runs.evaluation_settings import FineTuneSettings
from keras_clmae.runs.recipes import load_recipe
from keras_clmae.runs.settings import make_settings
from keras_clmae.runs.suggestions import did_you_mean
from keras_clmae.runs.yaml_files import read_yaml

_KNN_OPTIONS = ("k", "protocol", "temperature")
_FINE_TUNING = {field.name for field in dataclasses.fields(FineTuneSettings)}
_EVALUATION = {field.name for field in dataclasses.fields(EvaluationSettings)}
# What a study decides itself.
_TAKEN = {"source", "data", "output", "baseline", "name", "seed"}
# Protocol -> its options.
PROTOCOLS = {
    "knn": _KNN_OPTIONS,
    "knn_leave_one_out": _KNN_OPTIONS,
    "knn_leave_one_out_train": _KNN_OPTIONS,
    "logistic_probe": ("regularization", "max_iterations"),
    "few_shot": ("shots", "num_draws", "regularization"),
    "fine_tune": tuple(sorted(_FINE_TUNING - _EVALUATION - {"save"})),
}
_EVALUATION_OPTIONS = tuple(sorted(_EVALUATION - _TAKEN))
# A study draws its own table and figure; a run of it is to be quick.
_QUIET = {"verbose": 0, "pictures_every": 0, "keep": 1}
# Settings of a run on which no score depends.
NOT_DECISIVE = (
    "run_dir",
    "verbose",
    "line_minutes",
    "logger",
    "pictures_every",
    "checkpoint_every",
    "keep",
    "cache",
    "data_dir",
)


class PlannedRun(NamedTuple):
    """One run of a study.

    Attributes:
        method: str. Its name in the study.
        seed: int.
        settings: `Settings`, of a run with at least one epoch.
        is_trained: bool. `False` of an encoder that is scored as it starts.
    """

    method: str
    seed: int
    settings: Any
    is_trained: bool


@dataclasses.dataclass
class StudySettings:
    """The settings of a study: methods x seeds, each run scored in one way.

    Args:
        methods: From the name of a method to the settings in which it differs
            from the others, those of `pretrain`; `recipe` names the recipe that
            they start from. Of `model` the sizes that are given change; any
            other setting is replaced whole. `epochs` of its own let a method
            take as long as another one; `epochs: 0` scores the encoder before
            pretraining.
        seeds: Seeds; every method is run with each.
        recipe: Recipe of the methods that name none.
        settings: Settings that all methods share, over their recipes'.
        baseline: Method that the others are compared with, or several.
        protocols: From `knn`, `knn_leave_one_out` (every image of both splits
            among all others), `knn_leave_one_out_train` (the training split
            alone, to choose settings by), `logistic_probe`, `few_shot` and
            `fine_tune` to options. The figure shows the first one.
        evaluation: Options of the scores' data, such as `test_split`.
        output: Folder of the results. Defaults to the path of the file without
            its ending.
        run_dir: Folder of the runs. Defaults to runs/studies and the name of
            the file.
        keep_runs: Whether the folders of runs stay after they were scored.
    """

    methods: dict[str, Any]
    seeds: list[int]
    recipe: str | None = None
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)
    baseline: str | list[str] | None = None
    protocols: dict[str, Any] = dataclasses.field(
        default_factory=lambda: {"knn": {}}
    )
    evaluation: dict[str, Any] = dataclasses.field(default_factory=dict)
    output: str | None = None
    run_dir: str | None = None
    keep_runs: bool = False

    def __post_init__(self):
        for name, kind in (
            ("methods", dict),
            ("seeds", list),
            ("protocols", dict),
            ("settings", dict),
            ("evaluation", dict),
        ):
            value = getattr(self, name)
            if not isinstance(value, kind) or (
                not value and name not in ("settings", "evaluation")
            ):
                raise ValueError(
                    f"`{name}` must be a {kind.__name__} that is not empty. "
                    f"Received: {name}={value!r}"
                )
        if not all(isinstance(seed, int) for seed in self.seeds):
            raise ValueError(
                f"`seeds` must be integers. Received: seeds={self.seeds}"
            )
        self.methods = {
            name: values or {} for name, values in self.methods.items()
        }
        self.protocols = {
            name: options or {} for name, options in self.protocols.items()
        }
        _check_names("protocols", self.protocols, PROTOCOLS)
        for protocol, options in self.protocols.items():
            _check_names(protocol, options, PROTOCOLS[protocol])
        _check_names("evaluation", self.evaluation, _EVALUATION_OPTIONS)
        _check_names("baseline", self.baselines, self.methods)

    @property
    def baselines(self):
        """List of str. The methods that others are compared with."""
        if self.baseline is None:
            return []
        if isinstance(self.baseline, str):
            return [self.baseline]
        return list(self.baseline)

    def planned_runs(self, methods=None, seeds=None):
        """Lists the runs, one seed of all methods after the other.

        Args:
            methods: list of str. Some of the methods. Defaults to `None`: all.
            seeds: list of int. Some of the seeds. Defaults to `None`: all.

        Returns:
            List of `PlannedRun`.

        Raises:
            ValueError: if a method or a seed is not of the study, or a setting
                is wrong.
        """
        methods = list(self.methods) if methods is None else methods
        seeds = self.seeds if seeds is None else seeds
        _check_names("methods", methods, self.methods)
        _check_names("seeds", seeds, self.seeds)
        return [
            self._planned(method, seed)
            for seed, method in itertools.product(seeds, methods)
        ]

    def _planned(self, method, seed):
        values = dict(self.methods[method])
        recipe = values.pop("recipe", self.recipe)
        layers = (load_recipe(recipe) if recipe else {}, self.settings, values)
        values = {
            **_QUIET,
            **{name: value for each in layers for name, value in each.items()},
            "seed": seed,
            "run_dir": os.path.join(self.run_dir, f"{method}_seed{seed}"),
        }
        sizes = [each.get("model") or {} for each in layers]
        # One size may differ from the recipe's; objectives replace each other.
        values["model"] = {
            name: value for each in sizes for name, value in each.items()
        }
        is_trained = values.get("epochs") != 0
        if not is_trained:
            values["epochs"] = 1
        try:
            settings = make_settings(values)
            check_sizes(settings)
        except ValueError as error:
            raise ValueError(f"Method {method!r}: {error}") from error
        return PlannedRun(method, seed, settings, is_trained)


def read_study(path):
    """Reads the file of a study.

    Args:
        path: str. A YAML file.

    Returns:
        A `StudySettings`.

    Raises:
        ValueError: if there is no such file, or a setting is wrong.
    """
    path = os.fspath(path)
    if not os.path.isfile(path):
        raise ValueError(
            "`path` must be the YAML file of a study. Received: "
            f"path={path!r}, which does not exist"
        )
    study = settings_of(StudySettings, read_yaml(path))
    stem = os.path.splitext(path)[0]
    study.output = study.output or stem
    study.run_dir = study.run_dir or os.path.join(
        "runs", "studies", os.path.basename(stem)
    )
    return study


def _check_names(what, names, known):
    for name in names:
        if name not in known:
            raise ValueError(
                f"`{what}` must be among {', '.join(map(str, known))}. "
                f"Received: {name!r}{did_you_mean(name, map(str, known))}"
            )
