"""Checks a raw slice before it may join the timeline: within itself, and against the slices before it."""

from collections.abc import Iterable
from pathlib import Path

from tasks.corpus.raw import Numbered, Problem, Raw, read_raw, unknown_files
from tasks.corpus.slices import Examples
from tasks.corpus.text import folded, shown
from tasks.params import Kind

SHOWN = 20


def check_slice(folder: Path, older: Iterable[Examples] = (), kind: Kind = "time") -> list[Problem]:
    """Everything that is wrong with a raw slice, in the order of files and lines; empty if it may be added."""
    return [*unknown_files(folder), *problems_of(read_raw(folder), list(older), kind)]


def problems_of(raw: Raw, older: list[Examples], kind: Kind) -> list[Problem]:
    """What reading found, and duplicates, contradictions and leaks between test and train.

    Of domains none is later than another, so a fact that contradicts another domain's is a problem, not an update.
    """
    problems = [
        *raw.problems,
        *_repeated("facts.csv", raw.facts, ("subject", "relation", "object")),
        *_contradicted("facts.csv", raw.facts, ("subject", "relation"), "object"),
        *(_overriding(raw.facts, older) if kind == "domain" else ()),
        *_repeated("memories.txt", [(line, row | {"key": folded(row["key"])}) for line, row in raw.memories],
                   ("key", "value", "message")),
        *_repeated("chat.jsonl", raw.chat, ("input", "output")),
        *_repeated("examples.jsonl", raw.examples, ("input", "target", "split")),
        *_contradicted("examples.jsonl", raw.examples, ("input", "split"), "target"),
        *_leaked(raw, older),
        *_repeated("texts.jsonl", raw.texts, ("text",)),
    ]  # fmt: skip
    return sorted(problems, key=lambda problem: (problem.file, problem.line))


def listing(problems: list[Problem]) -> str:
    """At most 20 problems, one per line, and the count of the rest."""
    lines = [str(problem) for problem in problems[:SHOWN]]
    if len(problems) > SHOWN:
        lines.append(f"... and {len(problems) - SHOWN} more.")
    return "\n".join(lines)


def _repeated(file: str, rows: list[Numbered], keys: tuple[str, ...]) -> list[Problem]:
    first: dict[tuple[str, ...], int] = {}
    problems = []
    for line, row in rows:
        same = first.setdefault(tuple(row[key] for key in keys), line)
        if same != line:
            problems.append(Problem(file, line, f"the same row stands in line {same}."))
    return problems


def _contradicted(file: str, rows: list[Numbered], keys: tuple[str, ...], value: str) -> list[Problem]:
    first: dict[tuple[str, ...], tuple[int, str]] = {}
    problems = []
    for line, row in rows:
        key = tuple(row[name] for name in keys)
        before, known_value = first.setdefault(key, (line, row[value]))
        if known_value != row[value]:
            what = ", ".join(map(shown, key))
            reason = (
                f'"{what}" has two {value}s: {shown(known_value)} (line {before}) and {shown(row[value])}. Keep one.'
            )
            problems.append(Problem(file, line, reason))
    return problems


def _overriding(rows: list[Numbered], older: list[Examples]) -> list[Problem]:
    known = {
        (fact["subject"], fact["relation"]): (fact["object"], examples.name)
        for examples in older
        for fact in examples.facts
    }
    problems = []
    for line, row in rows:
        known_value, name = known.get((row["subject"], row["relation"]), (row["object"], ""))
        if known_value != row["object"]:
            what = f"{shown(row['subject'])}, {shown(row['relation'])}"
            reason = f'"{what}" is {shown(known_value)} in domain {name} and {shown(row["object"])} here. '
            reason += "No domain is newer than another: keep one, or set `kind: time` in params.yaml."
            problems.append(Problem("facts.csv", line, reason))
    return problems


def _leaked(raw: Raw, older: list[Examples]) -> list[Problem]:
    """Test rows that are trained on, here or in an older slice, and training rows that an older slice tests with."""
    tests = [(line, row["input"]) for line, row in raw.examples if row["split"] == "test"]
    training = [("examples.jsonl", line, row["input"]) for line, row in raw.examples if row["split"] == "train"]
    training += [("chat.jsonl", line, row["input"]) for line, row in raw.chat]
    trained = {text: f"{file}, line {line}" for file, line, text in training}
    if tests:
        trained |= {row["prompt"]: f"slice {examples.name}" for examples in older for row in examples.train}
    tested = {row["prompt"]: examples.name for examples in older for row in examples.test if row["fact"] is None}
    return [
        *(Problem("examples.jsonl", line, f"a test row that is trained on in {trained[text]}. Remove one of them.")
          for line, text in tests if text in trained),
        *(Problem(file, line, f"a training row that slice {tested[text]} tests with. Remove it.")
          for file, line, text in training if text in tested),
    ]  # fmt: skip
