"""Run a study, run by run, and sum it up."""

import os

from rich.console import Console

from keras_clmae import visualization
from keras_clmae.runs.study_figure import study_figure
from keras_clmae.runs.study_record import finish_run
from keras_clmae.runs.study_record import read_record
from keras_clmae.runs.study_settings import read_study
from keras_clmae.runs.study_table import study_table
from keras_clmae.saving import atomic_write

# As results of these are called.
_BACKENDS = ("jax", "tensorflow", "torch")


def study(path, methods=None, seeds=None, table_only=False):
    """Runs the grid of methods and seeds of a file, and sums it up.

    The same as `keras-clmae study`. Every run leaves one JSON file in the
    study's output folder when it ends: settings, scores, the course of mask
    difficulty, seconds, processor and versions. Called again it skips what has
    its file and goes on with a run that was interrupted. At the end table.md
    and figure.png are written from all files of the study.

    Args:
        path: str. YAML file with the fields of `StudySettings`: `methods` and
            `seeds`, and for instance `recipe`, `settings`, `baseline` and
            `protocols`.
        methods: list of str. Runs only some of the methods. Defaults to `None`:
            all.
        seeds: list of int. Runs only some of the seeds. Defaults to `None`:
            all.
        table_only: bool. Whether only table and figure are made, of the results
            that are there. Defaults to `False`.

    Returns:
        A list of dicts: the results of the study, of all backends.

    Raises:
        ValueError: if the file is wrong, or a result was made with other
            settings.
        TrainingInterrupted: after the state of a run was saved on request.

    Example:

    ```python
    results = keras_clmae.runs.study("docs/studies/digits.yaml", seeds=[0])
    ```
    """
    return run_study(read_study(path), methods, seeds, table_only)


def run_study(settings, methods=None, seeds=None, table_only=False):
    """Runs a study whose file was read.

    Args:
        settings: `StudySettings`.
        methods: As in `study`.
        seeds: As in `study`.
        table_only: As in `study`.

    Returns:
        As `study`.
    """
    console = Console()
    planned = settings.planned_runs(methods, seeds)
    for number, each in enumerate([] if table_only else planned, 1):
        console.print(
            f"{number}/{len(planned)} {each.method}, seed {each.seed}",
            end=" ",
            highlight=False,
        )
        try:
            record = finish_run(settings, each)
        except BaseException:
            # What is said of it begins on a line of its own.
            console.print()
            raise
        protocol, score = next(iter(record["scores"].items()))
        seconds = record.get("processor_seconds", 0.0)
        console.print(
            f"{protocol} {score:.1%}, {seconds:.0f} s", highlight=False
        )
    records = read_results(settings)
    write_summary(settings, records)
    return records


def read_results(settings):
    """Reads all results of a study that are there.

    Args:
        settings: `StudySettings`.

    Returns:
        List of dicts, in the order of methods and seeds.

    Raises:
        ValueError: if there is none, or a file is no result.
    """
    paths = (
        os.path.join(settings.output, f"{method}_seed{seed}_{backend}.json")
        for method in settings.methods
        for seed in settings.seeds
        for backend in _BACKENDS
    )
    records = [record for record in map(read_record, paths) if record]
    if not records:
        raise ValueError(
            "`output` must hold the result of at least one run. Received: "
            f"output={settings.output!r}"
        )
    return records


def write_summary(settings, records):
    """Writes table.md and figure.png into the output folder.

    Args:
        settings: `StudySettings`.
        records: list of dicts, the results of runs.
    """
    table = study_table(records, settings.baselines)
    with atomic_write(os.path.join(settings.output, "table.md")) as unfinished:
        with open(unfinished, "w", encoding="utf-8") as file:
            file.write(table)
    drawn = next(
        name
        for name in records[0]["scores"]
        if name.startswith(next(iter(settings.protocols)))
    )
    visualization.save_figure(
        study_figure(records, drawn, settings.baselines),
        os.path.join(settings.output, "figure.png"),
    )
