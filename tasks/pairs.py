"""The retriever's training and test pairs: the Cartesian product of all memory lines so far, per side of the split."""

from pathlib import Path

import pandas as pd

from tasks import artifact
from tasks.corpus.cartesian import COLUMNS, cartesian_pairs
from tasks.corpus.slices import history
from tasks.params import Pairs


def pairs(settings: Pairs, seed: int, examples: Path, out: Path) -> None:
    """Write train.csv and test.csv, and the lines behind them; a test line meets test lines only."""
    rows = [row for each in history(examples) for row in each.memories]
    with artifact.writing(out) as folder:
        lines = {}
        for split in ("train", "test"):
            # a set: a line that two slices bring is one line
            lines[split] = sorted({(row["key"], row["value"], row["message"]) for row in rows if row["split"] == split})
            made = cartesian_pairs(lines[split], settings.synonyms, settings.max_rows, seed)
            pd.DataFrame(made, columns=list(COLUMNS)).to_csv(folder / f"{split}.csv", index=False, lineterminator="\n")
        artifact.write_json(folder / "lines.json", {**lines, "synonyms": settings.synonyms})
