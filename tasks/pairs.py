"""The retriever's pairs: the Cartesian product of all memory lines so far, per side of the split, and its documents."""

from pathlib import Path
from random import Random
from typing import Any

import pandas as pd

from tasks import artifact
from tasks.corpus.cartesian import COLUMNS, cartesian_pairs
from tasks.corpus.slices import Examples, history, valid_facts
from tasks.corpus.text import folded
from tasks.params import Pairs

SPLITS = ("train", "calibration", "test")
MAX_QUESTIONS = 400  # to calibrate documents on


def pairs(settings: Pairs, seed: int, examples: Path, out: Path) -> None:
    """Write train.csv and test.csv, the lines behind them, and questions with the statements that answer them.

    A line meets lines of its own side only; those for calibration make no pairs.
    """
    slices = history(examples)
    with artifact.writing(out) as folder:
        lines: dict[str, list[tuple[str, str, str, str]]] = {split: [] for split in SPLITS}
        seen = set()
        for each in slices:
            for row in each.memories:
                line = (folded(row["key"]), row["value"], row["message"])
                if line not in seen:  # a line that two slices bring is the older one's
                    lines[row["split"]].append((row["key"], row["value"], row["message"], each.name))
                    seen.add(line)
        for split in SPLITS:
            lines[split].sort()
        for split in ("train", "test"):
            of_split = [line[:3] for line in lines[split]]
            made = cartesian_pairs(of_split, settings.synonyms, settings.max_rows, seed, settings.similarity)
            pd.DataFrame(made, columns=list(COLUMNS)).to_csv(folder / f"{split}.csv", index=False, lineterminator="\n")
        artifact.write_json(folder / "lines.json", {**lines, "synonyms": settings.synonyms})
        artifact.write_rows(folder / "questions.jsonl", _questions(slices, seed))


def _questions(slices: list[Examples], seed: int) -> list[dict[str, Any]]:
    """A sample of the questions to facts that are true now, each with a statement of its fact, in one language."""
    valid = valid_facts(slices)
    wordings: dict[tuple[str, str], dict[str, str]] = {}
    for each in slices:
        for row in each.test:
            if row["fact"] in valid and row["set"] in ("seen", "statement"):
                language = row["id"].split("/")[2]
                text = row["prompt"] if row["set"] == "seen" else row["target"]
                wordings.setdefault((row["fact"], language), {})[row["set"]] = text
    whole = [each for _, each in sorted(wordings.items()) if len(each) == 2]
    chosen = Random(seed).sample(whole, min(MAX_QUESTIONS, len(whole)))
    return [{"question": each["seen"], "statement": each["statement"]} for each in chosen]
