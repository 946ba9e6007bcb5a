"""Precision, recall and macro-F1 where a slice's targets are labels: few, and each of them trained on repeatedly."""

from collections import Counter

from sklearn.metrics import precision_recall_fscore_support
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tasks.corpus.slices import Examples, Row
from tasks.lm.generate import answers
from tasks.lm.template import template_of, tokens_of
from tasks.scoring.sampling import Sample

FEWEST, OFTEN = 2, 2  # labels there must be, and times that each is trained on


def classify(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    slices: list[Examples],
    sample: Sample,
    batch_tokens: int,
) -> dict[str, float] | None:
    """Let the model answer, word by word, the rows of those slices whose targets are labels; None if there are none."""
    labels = labels_of(slices)
    asked = [
        (row, sample[name, "seen"].weight)
        for name in labels
        for row in sample[name, "seen"].rows
        if row["fact"] is None
    ]
    if not asked:
        return None
    known: set[str] = set().union(*labels.values())
    template = template_of(tokenizer)
    longest = max(len(tokens_of(template.target(label), tokenizer)) for label in known)
    said = answers(model, tokenizer, [row["prompt"] for row, _ in asked], longest + 1, batch_tokens)  # more: no label
    return label_scores([row for row, _ in asked], said, known, [each for _, each in asked])


def labels_of(slices: list[Examples]) -> dict[str, set[str]]:
    """By slice, the labels that its examples.jsonl trains; slices whose targets are answers of their own are left out.

    The targets of a slice are labels if each occurs twice at least in the training rows of the slices seen, and
    there are labels only if there are two of them at least.
    """
    rows = {each.name: [row["target"] for row in each.train if row["kind"] == "example"] for each in slices}
    counts = Counter(target for targets in rows.values() for target in targets)
    found = {name: set(targets) for name, targets in rows.items()
             if targets and all(counts[target] >= OFTEN for target in targets)}  # fmt: skip
    return found if len(set().union(*found.values())) >= FEWEST else {}


def label_scores(
    rows: list[Row], answered: list[str], labels: set[str], weights: list[float]
) -> dict[str, float] | None:
    """Precision, recall and F1, each the plain mean over the labels (macro); None without rows.

    An answer that is no label is a miss of the expected one (a false negative), and no label's false positive.
    Labels that were neither expected nor answered have no score and are not counted.
    """
    expected = [row["target"] for row in rows]
    met = sorted(labels & {*expected, *answered})
    if not met:
        return None
    precision, recall, f1, _ = precision_recall_fscore_support(
        expected, answered, labels=met, average="macro", sample_weight=weights, zero_division=0.0
    )
    return {"precision": float(precision), "recall": float(recall), "macro_f1": float(f1)}
