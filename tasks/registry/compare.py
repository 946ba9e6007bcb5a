"""Two slices' models side by side, as the registry has them."""

from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tasks.errors import PerennialError
from tasks.registry import store
from tasks.registry.runs import flat_numbers
from tasks.registry.store import Names
from tasks.registry.versions import SCORES, SLICE_TAG, find_version, measured_of

FIRST = ("valid", "categories", "model", "previous", "base", "stage1_valid", "stage1_categories", "stage1", "retriever")


def print_comparison(console: Console, names: Names, first: str, second: str) -> None:
    """Print every metric of two versions, the difference, and answers of both to the same questions.

    Args:
        console: where to.
        names: of the project in MLflow.
        first: a slice, an alias or a version number.
        second: likewise.
    """
    try:
        client = store.connect()
    except store.Unreachable as error:
        mend = " Start it, or unset MLFLOW_TRACKING_URI." if store.tracking_uri().startswith("http") else ""
        raise PerennialError(f"{error}{mend}") from error
    versions = [find_version(client, names, name) for name in (first, second)]
    scores = [measured_of(each, SCORES) or {} for each in versions]
    titles = [f"{each.tags[SLICE_TAG]} (version {each.version})" for each in versions]
    table = Table("metric", header_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for title in (*titles, "difference"):
        table.add_column(escape(title), justify="right")
    one, other = (flat_numbers(each) for each in scores)
    for block in sorted({metric.split(".")[0] for metric in one.keys() | other.keys()}, key=_place):
        for metric in sorted(each for each in one.keys() | other.keys() if each.split(".")[0] == block):
            a, b = one.get(metric), other.get(metric)
            table.add_row(escape(metric), _told(a), _told(b), "" if a is None or b is None else _told(b - a, sign="+"))
        table.add_section()
    console.print(table)
    _print_samples(console, versions, scores[1], titles)


def _print_samples(console: Console, versions: list[Any], scores: dict[str, Any], titles: list[str]) -> None:
    import mlflow

    samples = scores.get("samples")
    if not samples:
        return
    prompts = [each["prompt"] for each in samples]
    with store.hushed():
        models = [mlflow.pyfunc.load_model(f"models:/{version.name}/{version.version}") for version in versions]
        answers = [model.predict(prompts) for model in models]
    table = Table(
        "question",
        *map(escape, titles),
        escape(f"expected at {scores['slice']}"),
        title="Answers",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    for question, one, other, sample in zip(prompts, *answers, samples, strict=True):
        table.add_row(*map(escape, (question, one, other, sample["expected"])))
    console.print(table)


def _place(block: str) -> tuple[int, str]:
    return (FIRST.index(block) if block in FIRST else len(FIRST), block)


def _told(value: float | None, sign: str = "") -> str:
    if value is None:
        return "-"
    return f"{value:{sign}.0f}" if value.is_integer() and abs(value) > 1 else f"{value:{sign}.4f}"
