"""What a slice's model knows: of every slice seen, per category, before and after stage 2, and of what comes next."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tasks import artifact
from tasks.corpus.canary import read_canary
from tasks.corpus.general import read_general
from tasks.corpus.slices import Examples, history, valid_facts
from tasks.lm.causal import load
from tasks.lm.generate import answer
from tasks.lm.pretrained import BASE, base_of
from tasks.lm.solved.files import has_memory, size_of
from tasks.lm.solved.module import memory_of
from tasks.params import Evaluate
from tasks.scoring.answers import exact_matches, perplexity
from tasks.scoring.canary import ask_canary, prompted
from tasks.scoring.chat import ask_chat, chat_accuracy
from tasks.scoring.familiarity import ask_familiar
from tasks.scoring.few_shot import ask_with_shots
from tasks.scoring.general import general_perplexity
from tasks.scoring.knowledge import QUESTIONS, Knowledge, categories, everyday_by_kind, samples_of, valid_accuracy
from tasks.scoring.labels import classify
from tasks.scoring.outcomes import facts_behind, outcomes_of
from tasks.scoring.retrieval_use import Rank, retrieval_use
from tasks.scoring.sampling import Sample, sample_rows, trained_texts
from tasks.scoring.written import compare_written

SCATTER, OUTCOMES = "scatter.csv", "outcomes.json"
NOTES = ("log.jsonl", "older.json")  # of the step that wrote a model


def evaluate(
    settings: Evaluate,
    examples: Path,
    model: Path,
    out: Path,
    stage1: Path | None = None,
    previous: Path | None = None,
    base: Path | None = None,
    retriever: Path | None = None,
    general: Path | None = None,
    canary: Path | None = None,
) -> None:
    """Score the model of one slice, and next to it the models that show what training on the slice did.

    Args:
        settings: sizes; how many rows are asked at most; worked examples, if any.
        examples: of the slice; older ones are found through it.
        model: the slice's model, scored on all slices seen.
        out: gets scores.json, outcomes.json (which test rows the model answered rightly), and the retriever's
            scatter.csv.
        stage1: the same model before stage 2.
        previous: the model of the slice before, scored on this slice only (forward transfer; with retrieval, too).
        base: the model before any slice, scored on this slice only (the baseline of forward transfer).
        retriever: of the slice; its own metrics are taken over, and it finds the documents of retrieval_use.
        general: text that no slice brings; its perplexity is that of the model and of the base.
        canary: questions that no slice can change, asked of the model and of the one before it.

    Raises:
        BadInput: a file of general text or of the canary can't be used.
    """
    slices = history(examples)
    valid = valid_facts(slices)
    sample = sample_rows(slices, valid, settings.rows)
    lm, tokenizer = load(model)
    known = measure(lm, tokenizer, slices, sample, settings)
    chat = ask_chat(lm, tokenizer, slices, settings.rows, settings.batch_tokens)
    older = valid_facts(slices[:-1])
    shown = samples_of(known, settings.samples)
    scores: dict[str, Any] = {
        "slice": examples.name,
        "model": known.scores(),
        "rows": known.rows(),
        "facts": facts_behind(known, slices[-1]) | {"chat": len(chat)},
        "overridden": {"facts": sum(fact["replaces"] is not None for fact in slices[-1].facts), "of": len(older)},
        "train_rows": len(slices[-1].train),
        "valid": valid_accuracy(known),
        "everyday": everyday_by_kind(known),
        "categories": categories(known, slices[-1]),
        "chat_accuracy": chat_accuracy(chat),
        "pretrained": base_of(model)["pretrained"],
        "samples": [
            {
                "prompt": row["prompt"],
                "expected": row["target"],
                "answer": answer(lm, tokenizer, row["prompt"]),
            }
            for row in shown
        ],
        "retriever": artifact.read_json(artifact.verified(retriever) / "metrics.json") if retriever else None,
    }
    if found := classify(lm, tokenizer, slices, sample, settings.batch_tokens):
        scores["labels"] = found
    if written := compare_written(lm, tokenizer, slices, sample, settings.written, settings.batch_tokens):
        scores["written"] = written
    if settings.shots:
        scores["few_shot"] = ask_with_shots(lm, tokenizer, slices, valid, sample, settings)
    test = _Test(slices, valid, sample, settings)
    compared, answered = _beside_earlier_models(test, (lm, tokenizer), stage1, previous, canary, retriever)
    scores |= compared
    if has_memory(model):
        scores["memory"] = size_of(model)
    texts = read_general(general) if general else None
    if texts:
        scores["general_perplexity"] = {"model": general_perplexity(lm, tokenizer, texts, settings.batch_tokens)}
    if base:
        same = stage1 is not None and _same_model(stage1, base)
        first = load(base)
        if scores["pretrained"] and canary and (questions := read_canary(canary)):
            scores["canary"]["base"] = prompted(*first, questions, settings.batch_tokens)
        scores["base"] = measure(*first, slices[-1:], sample, settings, answered if same else {}).scores()
        if texts:
            scores["general_perplexity"]["base"] = general_perplexity(*first, texts, settings.batch_tokens)
    with artifact.writing(out) as folder:
        artifact.write_json(folder / "scores.json", scores)
        artifact.write_json(folder / OUTCOMES, outcomes_of(known, chat))
        if retriever and (retriever / SCATTER).exists():
            shutil.copy(retriever / SCATTER, folder / SCATTER)


@dataclass(frozen=True)
class _Test:
    """What all models are asked that are compared."""

    slices: list[Examples]
    valid: dict[str, Any]
    sample: Sample
    settings: Evaluate


def _beside_earlier_models(
    test: _Test,
    model: tuple[Any, Any],
    stage1: Path | None,
    previous: Path | None,
    canary: Path | None,
    retriever: Path | None,
) -> tuple[dict[str, Any], dict[str, bool]]:
    """The scores of the model before stage 2 and of the one before the slice, and what is asked of both and `model`.

    Returns:
        The scores; and what the model before stage 2 answered, by row. Beside `model` one model is held at a time.
    """
    slices, sample, settings, batch_tokens = test.slices, test.sample, test.settings, test.settings.batch_tokens
    scores: dict[str, Any] = {}
    handed_on = stage1 is not None and previous is not None and _same_model(stage1, previous)
    before = measure(*load(stage1), slices, sample, settings) if stage1 and not handed_on else None
    earlier = load(previous) if previous else None
    if earlier and handed_on:
        before = measure(*earlier, slices, sample, settings)
    answered = before.by_row() if before else {}
    if before:
        scores |= {
            "stage1": before.scores(),
            "stage1_valid": valid_accuracy(before),
            "stage1_categories": categories(before, slices[-1]),
        }
    known = answered if handed_on else {}  # a model that was not trained since is not asked again
    if earlier:
        scores["previous"] = measure(*earlier, slices[-1:], sample, settings, known).scores()
    if earlier and memory_of(earlier[0]) and (found := ask_familiar(earlier, slices, settings, known)):
        scores["familiarity"] = found
    if canary and (questions := read_canary(canary)):
        asked = {"model": model} | ({"previous": earlier} if earlier else {})
        answers = {name: ask_canary(*each, questions, batch_tokens) for name, each in asked.items()}
        scores["canary"] = {"digest": questions.digest, **answers}
    if retriever and settings.retrieval:
        unread = earlier if len(slices) > 1 else None  # the base has read the first slice
        if used := retrieval_use(model, unread, slices, test.valid, _ranker(retriever), settings):
            scores["retrieval_use"] = used
    return scores, answered


def measure(
    model: Any,
    tokenizer: Any,
    slices: list[Examples],
    sample: Sample,
    settings: Evaluate,
    answered: Mapping[str, bool] = MappingProxyType({}),
) -> Knowledge:
    """Score a model on the slices' rows in the sample, and on the stale answers of the last slice.

    What it has answered before, by rows' ids, it is not asked again.
    """
    known = Knowledge()
    asked = [(examples.name, kind, sample[examples.name, kind]) for examples in slices for kind in QUESTIONS]
    rows = [row for _, _, sampled in asked for row in sampled.rows if row["id"] not in answered]
    new = exact_matches(model, tokenizer, rows, settings.batch_tokens)  # of a hundred slices a few each, all at once
    right = {**answered, **{row["id"]: each for row, each in zip(rows, new, strict=True)}}
    for name, kind, sampled in asked:
        known.add(name, kind, sampled.rows, [right[row["id"]] for row in sampled.rows], sampled.weight)
    for examples in slices:
        unseen = sample[examples.name, "statement" if holds_out_statements(examples) else "paraphrase"].rows
        known.perplexity[examples.name] = perplexity(model, tokenizer, unseen, settings.batch_tokens)
    newest = slices[-1].name
    updated = [row for kind in ("seen", "paraphrase") for row in sample[newest, kind].rows if row["stale"] is not None]
    stale = [{**row, "target": row["stale"]} for row in updated]
    known.add(newest, "stale", stale, exact_matches(model, tokenizer, stale, settings.batch_tokens))
    return known


def holds_out_statements(examples: Examples) -> bool:
    """Whether a slice has statements that it does not train on, though none of them may still be true."""
    stated = trained_texts([examples])
    return any(row["set"] == "statement" and row["target"] not in stated for row in examples.test)


def _same_model(one: Path, other: Path) -> bool:
    """Whether two models answer alike, byte for byte: only what steps note of them, and methods keep, may differ."""
    first, second = (
        {name: told for name, told in artifact.read_json(folder / artifact.MANIFEST)["files"].items()
         if name not in NOTES and not name.startswith(f"{BASE.parent}/")}
        for folder in (one, other)
    )  # fmt: skip
    return first == second


def _ranker(retriever: Path) -> Rank:
    """The retriever's own ranker of documents; BM25 if there is no trained one."""
    from tasks.retrieval.rankers import Bm25
    from tasks.retrieval.search import load_finder

    finder = load_finder(retriever)
    return finder.documents.scores if finder else Bm25().scores
