"""Writes a small project of its own from other data: `python -m benchmarks.timelines fewrel SOURCE FOLDER`.

SOURCE is the folder of one set (facts.jsonl of YAGO, relations.jsonl of FewRel, intents.jsonl of CLINC150, with a
"slice" in every row); nothing of it is kept in this repository. `synthetic N FOLDER` invents N equal slices.
`perennial run` in FOLDER takes the timeline through the repository's own graph, code and settings.
"""

import csv
import io
import json
import random
import re
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import typer
import yaml

from tasks.artifact import write_file
from tasks.corpus.check import check_slice, listing
from tasks.corpus.templates import read_templates
from tasks.errors import BadInput, PerennialError
from tasks.params import Kind, load_params

ROOT = Path(__file__).parents[1]
CODE = ("tasks", "flows", ".dvc", "dvc.yaml", "params.yaml", ".dvcignore", ".gitignore")
LEFT_OUT = ("__pycache__", "tmp", "cache")
RELATIONS, TOPICS, GENERAL = (Path("data/raw") / name for name in ("relations.yaml", "topics", "general"))
YAGO = Path(__file__).with_name("yago_relations.yaml")
NO_RELATIONS = "names: {}\nrelations: {}\n"
COLUMNS = ("subject", "relation", "object")

OBJECTS = 80  # names that the facts of a relation share
MADE_UP = {  # relation: what its subjects and its objects are called
    "capital": ("{0}", "{0} City"),
    "head of state": ("{0}", "{0} {1}"),
    "chief executive": ("{0} Group", "{0} {1}"),
    "author": ("The {0} of {1}", "{0} {1}"),
}
ONSETS, VOWELS, CODAS = "bdfgklmnprstvz", "aeiou", ("", "", "l", "n", "r")

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
Row = dict[str, Any]


@app.command()
def yago(source: Path, folder: Path) -> None:
    """Facts of four years; some change from year to year."""
    slices = {name: {"facts.csv": _facts(rows)} for name, rows in _slices(source / "facts.jsonl").items()}
    write_project(folder, slices, "time", YAGO.read_text(encoding="utf-8"))


@app.command()
def fewrel(source: Path, folder: Path) -> None:
    """Relation extraction: eight domains of two relations each."""
    write_project(folder, _labelled(source / "relations.jsonl"), "domain", NO_RELATIONS)


@app.command()
def clinc(source: Path, folder: Path) -> None:
    """Intent classification: fifteen domains of ten intents each."""
    write_project(folder, _labelled(source / "intents.jsonl"), "domain", NO_RELATIONS)


@app.command()
def synthetic(count: int, folder: Path, seed: int = 20, new: int = 60, updated: int = 10) -> None:
    """Invented facts, COUNT slices of one size: some are new, and some update an older one (all new in the first)."""
    told = yaml.safe_load((ROOT / RELATIONS).read_text(encoding="utf-8"))["relations"]
    wordings = {relation: {"en": told[relation]["en"]} for relation in MADE_UP}
    slices = {name: {"facts.csv": _facts(rows)} for name, rows in invented(count, seed, new, updated).items()}
    write_project(folder, slices, "time", yaml.safe_dump({"names": {}, "relations": wordings}, sort_keys=False))


def write_project(folder: Path, slices: dict[str, dict[str, str]], kind: Kind, relations: str) -> None:
    """Write a project whose data/raw holds each slice's files, by their names, in the order given.

    Raises:
        BadInput: the folder has something in it, or a slice's rows can't be used.
    """
    if folder.exists() and any(folder.iterdir()):
        raise BadInput(f"{folder} is not empty. Name a new folder.")
    folder.mkdir(parents=True, exist_ok=True)
    for name in CODE:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns(*LEFT_OUT))
        else:
            shutil.copy(ROOT / name, folder / name)
    for name, files in slices.items():
        for file, content in files.items():
            write_file(folder / "data/raw" / name / file, content.encode())
        if problems := check_slice(folder / "data/raw" / name):
            raise BadInput(f"slice {name} can't be used:\n{listing(problems)}")
    write_file(folder / RELATIONS, relations.encode())
    read_templates(folder / RELATIONS)
    for texts in (TOPICS, GENERAL):
        shutil.copytree(ROOT / texts, folder / texts)
    text = params_text((ROOT / "params.yaml").read_text(encoding="utf-8"), list(slices), kind)
    write_file(folder / "params.yaml", text.encode())
    load_params(folder / "params.yaml")


def params_text(text: str, slices: list[str], kind: Kind) -> str:
    """The repository's params.yaml for another timeline, without the naive reference; all else stays as it is."""
    before = ["base", *slices]
    chain = [f'  "{name}": {{previous: "{old}"}}\n' for old, name in zip(before, slices, strict=False)]
    for section, lines in {
        "kind": f"kind: {kind}\n",
        "timeline": "timeline:\n" + "".join(chain),
        "reference": "reference: {}\n",
    }.items():
        text = _put(rf"^{section}:.*\n(?: .*\n)*", lines, text)
    return _put(r"(?<=^  slice: )\S+", f'"{slices[0]}"', text)


def invented(count: int, seed: int, new: int = 60, updated: int = 10) -> dict[str, list[Row]]:
    """Slices of facts about subjects that there are not; a slice updates facts that are still true."""
    chance = random.Random(seed)
    relations = list(MADE_UP)
    subjects = {relation: _names(MADE_UP[relation][0], new * count + updated, chance) for relation in relations}
    objects = {relation: _names(MADE_UP[relation][1], OBJECTS, chance) for relation in relations}
    valid: list[Row] = []
    slices = {}
    for number in range(1, count + 1):
        old = chance.sample(range(len(valid)), updated) if valid else []
        changed = []
        for place in old:
            others = [name for name in objects[valid[place]["relation"]] if name != valid[place]["object"]]
            changed.append(valid[place] | {"object": chance.choice(others)})
        fresh = []
        for at in range(new + updated - len(old)):
            relation = relations[at % len(relations)]
            row = {"subject": subjects[relation].pop(), "relation": relation}
            fresh.append(row | {"object": chance.choice(objects[relation])})
        valid = [row for place, row in enumerate(valid) if place not in old] + changed + fresh
        slices[f"s{number:0{max(2, len(str(count)))}}"] = [*fresh, *changed]
    return slices


def _names(form: str, count: int, chance: random.Random) -> list[str]:
    found: dict[str, None] = {}
    while len(found) < count:
        words = ["".join(_syllable(chance) for _ in range(chance.choice((2, 3)))).capitalize() for _ in range(2)]
        found[form.format(*words)] = None
    return list(found)


def _syllable(chance: random.Random) -> str:
    return chance.choice(ONSETS) + chance.choice(VOWELS) + chance.choice(CODAS)


def _slices(path: Path) -> dict[str, list[Row]]:
    if not path.is_file():
        raise BadInput(f"{path} does not exist. Name the folder that holds {path.name}.")
    found: dict[str, list[Row]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        found.setdefault(row["slice"], []).append(row)
    return found


def _facts(rows: Iterable[Row]) -> str:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([row[column] for column in COLUMNS] for row in rows)
    return file.getvalue()


def _labelled(path: Path) -> dict[str, dict[str, str]]:
    return {
        name: {"examples.jsonl": "".join(
            json.dumps({key: row[key] for key in ("input", "target", "split")}, ensure_ascii=False) + "\n"
            for row in rows
        )}
        for name, rows in _slices(path).items()
    }  # fmt: skip


def _put(pattern: str, replacement: str, text: str) -> str:
    changed, count = re.subn(pattern, lambda _: replacement, text, flags=re.MULTILINE)
    if count != 1:
        raise BadInput(f"params.yaml has not one place for {replacement.splitlines()[0]}")
    return changed


if __name__ == "__main__":
    try:
        app()
    except PerennialError as error:
        raise SystemExit(str(error)) from error
