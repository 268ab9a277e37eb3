"""Describe masks from the command line."""

from keras_clmae.cli.evaluation import parse_evaluation
from keras_clmae.cli.evaluation import run_evaluation
from keras_clmae.runs.evaluation_settings import MaskStatisticsSettings

DESCRIPTION = """\
Describe the masks that a CL-MAE run has learned: have they collapsed?

  keras-clmae mask-statistics runs/digits digits

The figures go to a JSON file as well, with everything that decided them."""

_MEANINGS = {
    "mask_ratio": "share of removed tokens",
    "keep_score_mean": "should be near 1 - mask_ratio",
    "keep_score_std": "over images and tokens",
    "undecided_share": "scores near 0.5; near 1 is a collapse",
    "entropy": "bits, 0 (decided) to 1 (all 0.5)",
    "mask_overlap": "random masks: 1 - mask_ratio; near 1 is a collapse",
    "learned_mask_loss": "MAE's loss under learned masks",
    "random_mask_loss": "under random masks",
    "difficulty": "learned over random; above 1 is harder",
}


def _table(source, statistics):
    from rich.table import Table

    table = Table("statistic", "value", "meaning", title=f"Masks of {source}")
    for name, meaning in _MEANINGS.items():
        if name in statistics:
            table.add_row(name, f"{statistics[name]:.4f}", meaning)
    return table


def _grid(visible):
    """Words how often each position is visible, in percent."""
    from rich.table import Table

    table = Table(title="Visible, % of images", show_header=False, box=None)
    for row in visible:
        table.add_row(*(f"{100 * share:3.0f}" for share in row))
    return table


def main(arguments):
    """Describes; returns the record."""
    settings = parse_evaluation(
        "mask-statistics", DESCRIPTION, MaskStatisticsSettings, arguments
    )
    record, output = run_evaluation(settings)
    from rich.console import Console

    console = Console()
    statistics = record["statistics"]
    console.print(_table(settings.source, statistics))
    console.print(_grid(statistics["visible_share"]))
    for message in record["warnings"]:
        console.print(message, style="yellow", markup=False)
    console.print(f"Written to {output}", markup=False, soft_wrap=True)
    return record
