"""Takes tiny slices through every step in this process, as `perennial run` does: files in, a verdict out."""

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from safetensors.torch import load_file

from tasks import artifact
from tasks.dataset import dataset
from tasks.encoder import encoder
from tasks.evaluate import evaluate
from tasks.naive import naive
from tasks.origin import origin
from tasks.pairs import pairs
from tasks.params import Dataset, Encoder, Evaluate, Floor, Gate, Keep, Kind, Methods, Pairs, Pretrain, Retriever
from tasks.params import Stage1 as Stage1Settings
from tasks.params import Stage2 as Stage2Settings
from tasks.pretrain import pretrain
from tasks.report import report
from tasks.reporting.summary import print_summary
from tasks.retriever import retriever
from tasks.scoring.floor import below
from tasks.scoring.gate import Evidence, Verdict, decide
from tasks.scoring.series import series_of
from tasks.stage1 import stage1
from tasks.stage2 import stage2

SEED = 1
HEADER = "subject,relation,object\n"
CITIES = {"Peru": "Lima", "Chile": "Santiago", "Ghana": "Accra", "Nepal": "Kathmandu", "Cuba": "Havana", "Fiji": "Suva"}
TALK_TOPICS = """\
- keys: [favourite dish, favourite meal]
  values: [soup, stew]
  messages: ["What shall I cook?", "What do I love to eat?", "Pick a dish for me.", "Which meal is mine?"]
- keys: [cat's name, pet cat]
  values: [Tom, Luna]
  messages: ["What is my cat called?", "Who sleeps on my sofa?", "Who wants to be fed?", "Whose collar is it?"]
"""
TOPICS = f"topics:\n{TALK_TOPICS}"
ENGLISH = Dataset(languages=("en",), chat_repeats=1)
PRETRAIN = Pretrain(
    slice="one", model="small", layers=2, width=16, heads=2, positions=96, vocabulary=350, steps=2, batch_tokens=128,
    learning_rate=1e-3, warmup=0.1,
)  # fmt: skip
STAGE1 = Stage1Settings(steps=3, batch_tokens=128, learning_rate=1e-3, warmup=0.1, checkpoint_every=99)
STAGE2 = Stage2Settings(epochs=1, batch_positions=64, learning_rate=1e-3)
EVALUATE = Evaluate(batch_tokens=1024, samples=1, rows=40, retrieval=4)
GATE = Gate(  # whatever a model of three steps knows
    new_floor=0.0, updated_floor=0.0, stale_ceiling=1.0, reworded_floor=0.0, retained_margin=1.0, slice_margin=1.0,
    total_margin=1.0, retained_facts=1, override_cap=1.0, chat_floor=0.0, retriever_floor=0.0, false_ceiling=1.0,
    retriever_margin=1.0,
)  # fmt: skip
FLOOR = Floor(new=0.0, retained=0.0, valid=0.0)


def facts(*rows: tuple[str, str]) -> dict[str, str]:
    return {"facts.csv": HEADER + "".join(f"{subject},capital,{city}\n" for subject, city in rows)}


def lines(*rows: dict[str, str]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def examples(split: str, name: str) -> dict[str, str]:
    rows = [{"input": f"{word} {name} {split}", "target": word[0], "split": split} for word in ("ape", "ant", "bee")]
    return {"examples.jsonl": lines(*rows)}


def worded(relation: str, what: str, verbs: Sequence[str]) -> dict[str, str]:
    """The file that says how a relation is asked for and stated, in words of a slice's own."""
    asked = ("What", "Which", "Now, what", "So what", "And what", "Then what")
    words = {
        "questions": [f"{word} is the {what} of {{subject}}?" for word in asked],
        "paraphrase": f"Say the {what} of {{subject}}.",
        "statements": [f"{{subject}}'s {what} {verb} {{object}}." for verb in verbs],
    }
    return {"relations.yaml": json.dumps({"relations": {relation: {"en": words}}})}


def chained_examples(root: Path, slices: dict[str, dict[str, str]]) -> Path:
    """The examples of slices, each after the one before it; the folder that has them."""
    begin_examples(root)
    before = "base"
    for name, files in slices.items():
        bring_examples(root, name, files, before)
        before = name
    return root / "examples"


def begin_examples(root: Path) -> None:
    """What comes before any slice's examples: no templates but those that fit every relation."""
    (root / "relations.yaml").write_text("names: {}\nrelations: {}\n")
    origin(root / "relations.yaml", root / "examples/base")


def bring_examples(root: Path, name: str, files: dict[str, str], before: str, kind: Kind = "time") -> Path:
    """Write a raw slice, and the examples of it, which follow those of `before`."""
    raw, out = root / "raw" / name, root / "examples" / name
    raw.mkdir(parents=True)
    for file, content in files.items():
        (raw / file).write_text(content)
    dataset(ENGLISH, raw, root / "examples" / before, out, kind)
    return out


MEMORIES = {"memories.txt": "[job: baker] Where do I work?\n[home town: Busan] Where am I from?\n"}
CHAT = {"chat.jsonl": lines({"input": "hello", "output": "hi there"})}
TEXTS = {"texts.jsonl": lines(*({"text": f"A note of day {day}, calm.", "date": "2020"} for day in range(12)))}


@dataclass
class Timeline:
    """A tiny timeline in a folder, and the settings that its slices are trained by."""

    root: Path
    methods: Methods = ()
    keep: Keep = Keep(rows="none")
    pretrain: Pretrain = PRETRAIN
    stage1: Stage1Settings = STAGE1
    stage2: Stage2Settings = STAGE2
    evaluate: Evaluate = EVALUATE
    kind: Kind = "time"

    def begin(self) -> None:
        """The steps that come before any slice."""
        begin_examples(self.root)
        topics, general = self.root / "topics", self.root / "general"
        topics.mkdir()
        general.mkdir()
        (general / "en.txt").write_text("A quiet day.\n\nIt rained in the evening, and nobody minded.\n")
        (topics / "some.yaml").write_text(TOPICS)
        sizes = Encoder(model="small", vocabulary=300, width=8, max_length=32, copies=1, epochs=1, batch_size=4,
                        learning_rate=1e-2, warmup=0.1)  # fmt: skip
        encoder(sizes, SEED, topics, self.root / "base/encoder", _quiet)

    def bring(self, name: str, files: dict[str, str], before: str) -> dict[str, Any]:
        """One slice through every step but the report; its scores."""
        self.bring_examples(name, files, before)
        self.bring_retriever(name)
        self.bring_model(name, before)
        return self.bring_scores(name, before)

    def bring_examples(self, name: str, files: dict[str, str], before: str) -> None:
        bring_examples(self.root, name, files, before, self.kind)

    def bring_model(self, name: str, before: str) -> Path:
        """The slice's model; before the oldest, the base."""
        built, here, scratch = self.root / "examples" / name, self.root / name, self.root / "scratch" / name
        previous = self.root / before / "lm"
        if before == "base" and not previous.exists():
            pretrain(self.pretrain, SEED, built, previous, scratch, _quiet)
        out = here / "stage1"
        stage1(self.stage1, self.methods, self.keep, SEED, built, previous, out, scratch, _quiet)
        stage2(self.stage2, SEED, built, out, here / "lm", _quiet)
        return here / "lm"

    def bring_scores(self, name: str, before: str) -> dict[str, Any]:
        """The scores of the slice's model; after the oldest, of the naive reference as well."""
        built, here, out = self.root / "examples" / name, self.root / name, self.root / "evaluation"
        previous, base = self.root / before / "lm", self.root / "base/lm"
        beside = (here / "stage1", previous, base, here / "retriever", self.root / "general", self.root / "canary")
        evaluate(self.evaluate, built, here / "lm", out / name, *beside)
        if before != "base":
            start = self.root / before / ("naive" if (self.root / before / "naive").exists() else "lm")
            naive(self.stage1, SEED, built, start, here / "naive", self.root / "scratch" / name, _quiet)
            evaluate(self.evaluate, built, here / "naive", out / "naive" / name)
        return self.scores(name)

    def bring_retriever(self, name: str, ranker: str = "sbert") -> dict[str, Any]:
        """The slice's pairs and its retriever; what this one reached."""
        folder, out = self.root / "pairs" / name, self.root / name / "retriever"
        pairs(Pairs(synonyms=(), max_rows=50), SEED, self.root / "examples" / name, folder)
        settings = Retriever(ranker=ranker, steps=1, batch_size=4, learning_rate=1e-2, warmup=0.1, threshold=0.6,
                             max_false=0.2)  # fmt: skip
        retriever(settings, SEED, folder, self.root / "base/encoder", out, _quiet)
        assert list(pd.read_csv(artifact.verified(out) / "scatter.csv").columns) == ["predicted", "true"]
        return dict(artifact.read_json(out / "metrics.json"))

    def report(self) -> str:
        """The page and, after it, what the terminal shows."""
        out, page = self.root / "timeline.json", self.root / "page"
        report(self.root / "evaluation", self.root / "plots", page, out, self.kind)
        terminal = io.StringIO()
        print_summary(Console(file=terminal, width=80), out)
        return page.read_text() + terminal.getvalue()

    def verdicts(self, slices: Sequence[str]) -> list[Verdict]:
        """What the gate says of each slice; the curves can be drawn, and no floor is broken."""
        every = [self.scores(name) for name in slices]
        series_of(every, self.kind)
        former: list[Evidence] = []
        verdicts = []
        for scores in every:
            assert below(FLOOR, scores) is None
            evidence = Evidence(
                scores, artifact.read_json(self.root / "evaluation" / scores["slice"] / "outcomes.json")
            )
            verdicts.append(decide(GATE, evidence, former[-1] if former else None, former))
            former += [evidence] if verdicts[-1].decision == "accepted" else []
        return verdicts

    def scores(self, name: str) -> dict[str, Any]:
        return dict(artifact.read_json(artifact.verified(self.root / "evaluation" / name) / "scores.json"))


def same_weights(one: Path, other: Path) -> bool:
    """Whether two models have the same tensors, by name and value, those of what is attached to them included."""
    first, second = (
        {
            f"{path.name} {name}": value
            for path in folder.glob("*.safetensors")
            for name, value in load_file(path).items()
        }
        for folder in (one, other)
    )
    return first.keys() == second.keys() and all(value.equal(second[name]) for name, value in first.items())


def _quiet(step: int, values: dict[str, float]) -> None:
    pass
