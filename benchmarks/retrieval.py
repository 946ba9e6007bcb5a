"""Which ranker finds what? `python -m benchmarks.retrieval [--data FOLDER] [--out PAGE]`

Measures every ranker on the memory lines of data/raw, on Korean sentence pairs and on Korean messages with their
answers, each at the threshold that was calibrated for it on messages held out for that. The tables of PAGE are
rewritten, each as soon as it is measured; the prose around them stays. What `perennial run` has built is used where
nothing changed since, the rest is built in a work folder. One thread; all but the speed comes out the same each time.

FOLDER holds klue_sts/pairs.jsonl (sentence1, sentence2, score) and korean_chat/pairs.jsonl (input, output); without one
of them its tables stay as they are.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import torch
import typer

from benchmarks import retrieval_lines, retrieval_sentences
from benchmarks.ranking import Table, cell
from benchmarks.retrievers import Project, fresh_stages
from tasks import artifact
from tasks.errors import BadInput, PerennialError
from tasks.params import SMALL, load_params

DATA, PAGE = Path("../shared/data"), Path("docs/retrieval.md")
TABLES = {
    "lines": ("lines", "similarity", "ablation", "slices", "few"),
    "sts": ("sts", "sts_trained"),
    "chat": ("chat",),
}
FILES = {"sts": retrieval_sentences.STS, "chat": retrieval_sentences.CHAT}
HEADINGS = {
    "mse": "MSE",
    "mae": "MAE",
    "pearson": "Pearson",
    "spearman": "Spearman",
    "top1": "top-1",
    "mrr": "MRR",
    "recall10": "recall@10",
    "f1": "F1",
    "false_retrieval_rate": "false",
    "per_second": "messages/s",
}


def run(
    data: Annotated[Path, typer.Option(help="Where the sentence pairs and the messages lie.")] = DATA,
    out: Annotated[Path, typer.Option(help="The page whose tables are rewritten.")] = PAGE,
    work: Annotated[Path | None, typer.Option(help="Keeps what is built; what is there is not built again.")] = None,
    part: Annotated[list[str] | None, typer.Option(help="lines, sts, chat: one of them, or several times.")] = None,
) -> None:
    """Measure, and rewrite the page's tables."""
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    params = load_params()
    if params.encoder.model != SMALL:
        raise BadInput(f"params.yaml: encoder.model is {params.encoder.model}. The benchmark trains 'small' ones.")
    parts = part or list(TABLES)
    if unknown := [name for name in parts if name not in TABLES]:
        raise BadInput(f"There is no part '{unknown[0]}'. The parts are: {', '.join(TABLES)}.")
    for name in parts:
        for table in TABLES[name]:
            placed(out, table)
    with TemporaryDirectory(prefix="perennial-retrieval-") as folder:
        project = Project(params, work or Path(folder), fresh_stages(Path.cwd()))
        for name in parts:
            if name in FILES and not (data / FILES[name]).exists():
                print(f"{data / FILES[name]} does not exist: its tables stay as they are.")
                continue
            for table, content in measured(name, project, data):
                told = markdown(content)
                print(f"\n{told}", flush=True)
                artifact.write_file(out, placed(out, table, told).encode())


def measured(part: str, project: Project, data: Path) -> Iterator[tuple[str, Table]]:
    """The tables of one part, each as soon as it is measured."""
    return {
        "lines": retrieval_lines.tables(project),
        "sts": retrieval_sentences.sentence_pairs(project, data),
        "chat": retrieval_sentences.answers(project, data),
    }[part]  # generators: the others measure nothing


def markdown(table: Table) -> str:
    """The table, and its note below."""
    heads = [HEADINGS.get(column, column) for column in table.columns]
    rows = [[name, *(cell(column, row.get(column)) for column in table.columns)] for name, row in table.rows.items()]
    lines = [["", *heads], ["---"] * (1 + len(heads)), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + f"\n\n{table.note}\n"


def placed(page: Path, table: str, content: str = "") -> str:
    """The page with new content between `<!-- table: name -->` and the next `<!-- end -->`.

    Raises:
        BadInput: there is no such page, or no such place in it.
    """
    try:
        text = page.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise BadInput(
            f"{page} does not exist. Copy {PAGE} there: its tables are rewritten, its prose stays."
        ) from error
    place = re.compile(rf"(<!-- table: {table} -->\n).*?(?=<!-- end -->)", re.DOTALL)
    if len(place.findall(text)) != 1:
        raise BadInput(f"{page}: '<!-- table: {table} -->' with '<!-- end -->' behind it must stand there once.")
    return place.sub(lambda found: found[1] + content, text)


if __name__ == "__main__":
    try:
        typer.run(run)
    except PerennialError as error:
        raise SystemExit(str(error)) from error
