"""A slice becomes sums: its questions, in all their wordings, are added; those of facts that it overrides, taken out.

Sums lie in buckets, and a slice in the last of them, or in a new one where that is full. A slice of many rows comes in
parts, all rows of a fact in one, and from part to part a bucket may be full. What is kept of a slice are the bucket of
each part, its languages, a hash of each fact's rows, and of each answer a hash and what it was taught for (see
asked.py). The rows of an overridden fact are rendered again, from what the new fact says of it and the templates of its
own slice, and must have the hash that is kept.
"""

import hashlib
import json
import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tasks import artifact
from tasks.corpus.language import told_again
from tasks.corpus.slices import Examples, Row, language_of, load_manners, slice_of, undone_by
from tasks.errors import BadInput
from tasks.lm.adapters import description_of
from tasks.lm.batches import Sequence, by_length, collate, encode
from tasks.lm.causal import limit_of
from tasks.lm.logits import head_of
from tasks.lm.mixing import Variation
from tasks.lm.solved.asked import NO_RELATION
from tasks.lm.solved.codes import bound
from tasks.lm.solved.features import counted
from tasks.lm.solved.files import FACTS, KEPT, SLICES, backbone_sum, known_backbone, sums_in
from tasks.lm.solved.module import TOKENS, Memory, memory_of
from tasks.lm.solved.solution import solve
from tasks.lm.solved.sums import Sums
from tasks.solved_params import FIRST, Solved

PART = 4  # times the width: so many rows are added before it is asked whether a bucket is full
FREE = ("ridge", "scale", "shards", "full")  # settings that decide nothing about what is in the sums


@dataclass
class Kept:
    """All that is kept of what was learnt: each bucket's sums, a hash of each fact's rows, and how each slice was
    rendered. changed: buckets whose sums have changed since this was loaded.
    """

    sums: list[Sums]
    facts: dict[str, str] = field(default_factory=dict)
    slices: dict[str, dict[str, Any]] = field(default_factory=dict)
    changed: set[int] = field(default_factory=set)

    def last(self, full: bool) -> int:
        """The bucket to go on with: the last, or a new one if that is full."""
        if full:
            self.sums.append(self.sums[-1].none())
        return len(self.sums) - 1

    def bucket_of(self, row: Row) -> int:
        """Which bucket an older slice's row is in."""
        buckets: list[int] = self.slices[slice_of(row)]["buckets"]
        return buckets[_part_of(row, len(buckets))]

    def change(self, bucket: int) -> Sums:
        """A bucket's sums, to be changed."""
        self.changed.add(bucket)
        return self.sums[bucket]

    @property
    def tokens(self) -> Tensor:
        """How often each token is part of an answer, [vocabulary]."""
        return torch.stack([sums.tokens.long() for sums in self.sums]).sum(0)

    @property
    def places(self) -> int:
        """How many places there are in all."""
        return sum(sums.places for sums in self.sums)

    def save(self, model: Path) -> None:
        folder = model / KEPT
        folder.mkdir(parents=True, exist_ok=True)
        for bucket, sums in enumerate(self.sums):
            sums.save(sums_in(model, bucket))
            sums_in(model, bucket).chmod(0o644)
        artifact.write_json(folder / FACTS, self.facts)
        artifact.write_json(folder / SLICES, self.slices)

    @classmethod
    def load(cls, model: Path) -> "Kept":
        folder = model / KEPT
        facts, slices = (artifact.read_json(folder / name) for name in (FACTS, SLICES))
        count = len(list(folder.glob(sums_in(model, "*").name)))
        return cls([Sums.load(sums_in(model, bucket)) for bucket in range(count)], facts, slices)


def questions_of(rows: list[Row], settings: Solved, folder: Path, seed: int) -> list[Row]:
    """Of a slice's training rows those with a prompt, and its questions about facts as people type them as well."""
    asked = [
        row for row in rows if row["prompt"] and (not row["fact"] or _wording(row) < (settings.wordings or math.inf))
    ]
    vary = Variation(1.0, load_manners(folder), f"{seed} {folder.name} solved")
    about = [row for row in asked if row["fact"]]
    return [*asked, *(row for number in range(settings.variations) for row in vary(about, number))]


def begun(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, settings: Solved, examples: Examples, folder: Path
) -> tuple[Memory, Kept]:
    """The memory of a model that was loaded from `folder`, and what is kept beside it; new ones, if it has none yet.

    Raises:
        BadInput: the backbone is not the one that the sums were made with, they were made with other settings, or the
            model has adapters.
    """
    if memory := memory_of(model):
        fixed, now = memory.settings, settings
        if fixed.model_copy(update={name: getattr(now, name) for name in FREE}) != now:
            raise BadInput(
                f"The solved memory in {folder} was begun with {_sizes(fixed)}, and stage2.solved in params.yaml now "
                f"says {_sizes(now)}. Put it back, or run the timeline anew from its oldest slice."
            )
        if known_backbone(folder) != backbone_sum(folder):
            raise BadInput(
                f"The backbone in {folder} is not the one that its solved memory was made with, so what that knows is "
                "worth nothing to it. Run the timeline anew from its oldest slice."
            )
        memory.settings = settings
        return memory, Kept.load(folder)
    if attached := description_of(model):
        raise BadInput(
            f"stage2.how is solved in params.yaml, and the model of {folder} carries {attached['kind']}: a solved "
            "memory stands behind a plain backbone. Choose a method that leaves no adapter, or none."
        )
    counts = counted(dict.fromkeys(row["prompt"] for row in examples.train if row["prompt"]))
    sums = Sums.empty(settings.width, settings.codes, head_of(model).out_features)
    return Memory(model, tokenizer, settings, counts), Kept([sums])


def learn_slice(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    memory: Memory,
    kept: Kept,
    examples: Examples,
    folder: Path,
    seed: int,
    add: Callable[[Sums, list[list[Row]], int], None] | None = None,
) -> dict[int, list[Row]]:
    """Add a slice to the sums, and take out the facts that it overrides; the rows that were added, by bucket.

    `add` adds to sums one of the slice's parts, by its number; by default it is added here and at once.

    Raises:
        BadInput: the rows of an overridden fact can't be rendered again as they were learnt.
    """
    settings = memory.settings
    relations = {fact["id"]: fact["relation"] for fact in examples.facts}
    rows = questions_of(examples.train, settings, folder, seed)
    rows = [row | {"relation": relations.get(row["fact"], NO_RELATION)} for row in rows]
    add = add or (lambda sums, parts, number: add_rows(model, tokenizer, memory, sums, parts[number]))
    buckets, added = list[int](), dict[int, list[Row]]()
    rank = memory.buckets[-1].rank if memory.buckets else 0.0
    for number, some in enumerate(parts := parts_of(rows, settings)):
        rank = _rank(kept.sums[-1], memory) if number else rank
        buckets.append(kept.last(memory.is_full(rank) and bool(some)))  # a part may be empty, a bucket not
        add(kept.change(buckets[-1]), parts, number)
        added.setdefault(buckets[-1], []).extend(some)
    _count(memory, rows, 1)
    if rows:
        languages = list(dict.fromkeys(language_of(row) for row in rows if row["fact"]))
        kept.slices[folder.name] = {"buckets": buckets, "languages": languages, "seed": seed}
    about: dict[str, list[Row]] = {}
    for row in rows:
        if row["fact"]:
            about.setdefault(row["fact"], []).append(row)
    kept.facts |= {fact: rows_sum(some) for fact, some in about.items()}
    overridden = [_replaced(fact) for fact in examples.facts if fact["replaces"]]
    stale = [row for fact in overridden for row in _as_learnt(fact, kept, folder.parent, settings)]
    _change(model, tokenizer, memory, kept, stale, -1)
    for fact in overridden:
        kept.facts.pop(fact["id"], None)
    memory.asks_for.learn(folder)
    return added


def unlearn(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, memory: Memory, kept: Kept, examples: Path
) -> None:
    """Take out of the sums what the slice in `examples` erases of older ones, and put back what that had overridden.

    Raises:
        BadInput: the rows of an erased fact can't be rendered again as they were learnt.
    """
    undone, slices = undone_by(examples), examples.parent
    gone = [row for fact in undone.facts for row in _as_learnt(fact, kept, slices, memory.settings)]
    gone += [row for row in undone.rows if row["prompt"] and slice_of(row) in kept.slices]
    _change(model, tokenizer, memory, kept, gone, -1)
    for fact in undone.facts:
        kept.facts.pop(fact["id"], None)
    for fact in undone.returned:
        if rows := _rendered(fact, kept, slices, memory.settings):
            _change(model, tokenizer, memory, kept, rows, 1)
            kept.facts[fact["id"]] = rows_sum(rows)


def parts_of(rows: list[Row], settings: Solved) -> list[list[Row]]:
    """A slice's rows in parts that are added one after the other: by fact, or by prompt where a row is about none."""
    parts: list[list[Row]] = [[] for _ in range(math.ceil(len(rows) / (PART * settings.width)))]
    for row in rows:
        parts[_part_of(row, len(parts))].append(row)
    return parts


def add_rows(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    memory: Memory,
    sums: Sums,
    rows: list[Row],
    sign: int = 1,
    shard: tuple[int, int] = (0, 1),
) -> None:
    """Add rows to the sums, or take them out again, by forward passes alone; of a shard, see `places_of`.

    Raises:
        BadInput: where an answer begins can't be told by this tokenizer's tokens.
    """
    sequences, marker = encode(rows, tokenizer, limit_of(model)), memory.marker
    if hidden := [each for each in sequences if each.ids[max(0, each.start - len(marker)) : each.start] != marker]:
        said = tokenizer.decode(hidden[0].ids[: hidden[0].start])
        raise BadInput(
            f"The tokenizer of this model writes the beginning of an answer in other tokens behind '{said}' than by "
            "itself, so a solved memory would not find it. Choose another model, or `stage2: {how: refit}`."
        )
    for seen, answers, times, _ in places_of(model, memory, sequences, shard):
        used = [token for each, number in zip(answers, times.tolist(), strict=True) for token in each * number]
        counts = torch.bincount(torch.tensor(used), minlength=len(sums.tokens))
        targets = bound(answers, memory.settings.codes).to(model.device)
        sums.add(seen.repeat_interleave(times, 0), targets.repeat_interleave(times, 0), counts, sign)


@torch.no_grad()
def places_of(
    model: PreTrainedModel, memory: Memory, sequences: list[Sequence], shard: tuple[int, int] = (0, 1)
) -> Iterator[tuple[Tensor, list[list[int]], Tensor, Tensor]]:
    """Of places that predict, batch by batch: q, [places, D]; the tokens that follow; how often it occurs, [places];
    and whether an answer begins there, [places].

    A shard, by its number and how many there are, has every so manieth batch: the batches are always the same.
    """
    times = Counter((tuple(each.ids), each.start) for each in sequences)
    distinct = [Sequence(list(ids), start) for ids, start in times]
    counts, window = list(times.values()), memory.settings.window
    model.eval()
    for run in by_length([len(each.ids) for each in distinct], TOKENS)[shard[0] :: shard[1]]:
        batch = collate([distinct[index] for index in run], model.device)
        places, answers, repeats = [], [], []
        for row, index in enumerate(run):
            ids = distinct[index].ids
            for at in range(distinct[index].start, len(ids), window):
                places.append((row, at - 1))
                answers.append(ids[at : at + window])
                repeats.append(counts[index])
        begins = torch.tensor([at == distinct[run[row]].start - 1 for row, at in places])
        yield memory.watch(model, batch, places), answers, torch.tensor(repeats, device=model.device), begins


def rows_sum(rows: list[Row]) -> str:
    """SHA-256 of what rows ask and answer, in any order."""
    return hashlib.sha256(json.dumps(sorted([row["prompt"], row["target"]] for row in rows)).encode()).hexdigest()


def _sizes(settings: Solved) -> str:
    return ", ".join(f"{name} {value}" for name, value in settings.model_dump().items() if name not in FREE)


def _change(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, memory: Memory, kept: Kept, rows: list[Row], sign: int
) -> None:
    """Add older slices' rows to the sums that they were in, or take them out."""
    _count(memory, rows, sign)
    by_bucket: dict[int, list[Row]] = {}
    for row in rows:
        by_bucket.setdefault(kept.bucket_of(row), []).append(row)
    for bucket, some in by_bucket.items():
        add_rows(model, tokenizer, memory, kept.change(bucket), some, sign)


def _count(memory: Memory, rows: list[Row], sign: int) -> None:
    """Count what rows answer among what was taught, or take it out again."""
    taught = Counter((row["target"], row.get("relation", NO_RELATION)) for row in rows)
    for (target, relation), times in taught.items():
        memory.asks_for.count(memory.said(target), relation, sign * times)


def _rank(sums: Sums, memory: Memory) -> float:
    """How many of a bucket's directions are taken, under the ridge that was used last."""
    return solve(sums, memory.settings.ridge or (memory.buckets[-1].ridge if memory.buckets else FIRST)).rank


def _part_of(row: Row, parts: int) -> int:
    return int(hashlib.sha256((row["fact"] or row["prompt"]).encode()).hexdigest(), 16) % parts


def _wording(row: Row) -> int:
    """Which of its relation's questions a row about a fact is: its id ends with it."""
    return int(row["id"].rsplit("question", 1)[1])


def _replaced(fact: Row) -> Row:
    """The fact that is replaced by `fact`."""
    return {**fact, **fact["replaces"], "replaces": None}


def _rendered(fact: Row, kept: Kept, slices: Path, settings: Solved) -> list[Row]:
    """The rows of a fact, as its own slice taught them; none if that came before the memory began."""
    folder = slices / slice_of(fact)
    if (known := kept.slices.get(folder.name)) is None:
        return []
    rows = told_again([{**fact, "languages": known["languages"]}], folder)
    return [row | {"relation": fact["relation"]} for row in questions_of(rows, settings, folder, known["seed"])]


def _as_learnt(fact: Row, kept: Kept, slices: Path, settings: Solved) -> list[Row]:
    """The rows of a fact that is in the sums, the very same as were added; none if it is not."""
    if fact["id"] not in kept.facts:
        return []
    rows = _rendered(fact, kept, slices, settings)
    if rows_sum(rows) != kept.facts[fact["id"]]:
        name = slice_of(fact)
        raise BadInput(
            f"The solved memory learnt '{fact['subject']}, {fact['relation']}, {fact['object']}' ({fact['id']}) from "
            f"other wordings than {slices / name} gives now, so it can't be taken out exactly. Put the templates and "
            f"languages back as they were at {name}, or run the timeline anew from there."
        )
    return rows
