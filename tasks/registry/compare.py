"""Two slices' models side by side, as the registry has them."""

from typing import Any

from rich.console import Console
from rich.table import Table

from tasks.errors import PerennialError
from tasks.registry import store
from tasks.registry.versions import SLICE_TAG, find_version, flat_numbers


def print_comparison(console: Console, first: str, second: str) -> None:
    """Print every metric of two versions, the difference, and answers of both to the same questions.

    Args:
        console: where to.
        first: a slice, an alias or a version number.
        second: likewise.
    """
    try:
        client = store.connect()
    except store.Unreachable as error:
        raise PerennialError(f"{error} Start it, or unset MLFLOW_TRACKING_URI.") from error
    versions = [find_version(client, name) for name in (first, second)]
    scores = [_scores(each) for each in versions]
    names = [f"{each.tags[SLICE_TAG]} (version {each.version})" for each in versions]
    table = Table("metric", header_style="bold")
    for title in (*names, "difference"):
        table.add_column(title, justify="right")
    one, other = (flat_numbers({key: part for key, part in each.items() if key != "slice"}) for each in scores)
    for metric in sorted(one.keys() | other.keys()):
        a, b = one.get(metric), other.get(metric)
        table.add_row(metric, _told(a), _told(b), "" if a is None or b is None else f"{b - a:+.4f}")
    console.print(table)
    _print_samples(console, versions, scores[1], names)


def _scores(version: Any) -> dict[str, Any]:
    from mlflow.artifacts import load_dict

    loaded: dict[str, Any] = load_dict(f"runs:/{version.run_id}/scores.json")
    return loaded


def _print_samples(console: Console, versions: list[Any], scores: dict[str, Any], names: list[str]) -> None:
    import mlflow

    samples = scores["samples"]
    if not samples:
        return
    asked = [each["prompt"] for each in samples]
    answers = [
        mlflow.pyfunc.load_model(f"models:/{store.MODEL}/{version.version}").predict(asked) for version in versions
    ]
    table = Table("question", *names, f"expected at {scores['slice']}", title="Answers", title_justify="left")
    for question, one, other, sample in zip(asked, *answers, samples, strict=True):
        table.add_row(question, one, other, sample["expected"])
    console.print(table)


def _told(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
