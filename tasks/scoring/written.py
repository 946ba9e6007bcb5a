"""Answers that are texts of their own, such as translations: how near they come to what was expected, slice by slice.

chrF: the F-score (beta 2) of character n-grams up to 6 (Popović 2015, W15-3049, eq. 1). BLEU: the geometric mean of the
precisions of word n-grams up to 4, times the brevity penalty (Papineni et al. 2002, P02-1040, section 2.3). Both by
sacrebleu, over all rows of a slice together, on a scale of 0 to 100. BLEU parts words as in English: of languages
without blanks between words it says little, and chrF is the one to read.
"""

from collections import Counter
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tasks.corpus.slices import Examples, Row
from tasks.lm.generate import answers
from tasks.lm.template import template_of, tokens_of
from tasks.scoring.labels import OFTEN, labels_of
from tasks.scoring.sampling import Sample, even_share

LONGER = 1.5  # than the longest expected answer an answer may be, in tokens


def compare_written(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    slices: list[Examples],
    sample: Sample,
    most: int,
    batch_tokens: int,
) -> dict[str, dict[str, Any]] | None:
    """Let the model answer, word by word, test rows of examples.jsonl whose targets are no labels.

    Args:
        model: asked.
        tokenizer: its own.
        slices: all that were seen.
        sample: the test rows that are asked at all.
        most: rows in all, as many of every slice and one at least; 0: none.
        batch_tokens: generated together.

    Returns:
        By slice `rows`, `chrf` and `bleu`; None where there are no such rows.
    """
    asked = _asked(slices, sample, most)
    rows = [row for each in asked.values() for row in each]
    if not rows:
        return None
    template = template_of(tokenizer)
    longest = max(len(tokens_of(template.target(row["target"]), tokenizer)) for row in rows)
    prompts = [row["prompt"] for row in rows]
    said = iter(answers(model, tokenizer, prompts, round(LONGER * longest) + 1, batch_tokens))
    return {name: likeness([next(said) for _ in own], [row["target"] for row in own]) for name, own in asked.items()}


def _asked(slices: list[Examples], sample: Sample, most: int) -> dict[str, list[Row]]:
    """By slice: rows about no fact, of slices that train such rows, whose targets are not taught again and again."""
    counts = Counter(row["target"] for each in slices for row in each.train if row["kind"] == "example")
    labelled = labels_of(slices)
    found: dict[str, list[Row]] = {}
    for each in slices:
        trains = any(row["kind"] == "example" for row in each.train)
        rows = [
            row
            for row in sample[each.name, "seen"].rows
            if row["fact"] is None and row["prompt"] and counts[row["target"]] < OFTEN
        ]
        if rows and trains and each.name not in labelled:
            found[each.name] = rows
    share = even_share([len(rows) for rows in found.values()], most)
    return {name: rows[:share] for name, rows in found.items()} if most else {}


def likeness(said: list[str], expected: list[str]) -> dict[str, Any]:
    """How many there are, and chrF and BLEU of them together, 0 to 100."""
    from sacrebleu.metrics import BLEU, CHRF

    return {
        "rows": len(said),
        "chrf": CHRF().corpus_score(said, [expected]).score,
        "bleu": BLEU().corpus_score(said, [expected]).score,
    }
