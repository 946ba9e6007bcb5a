"""One entry of the comparison: the timeline through one list of methods, from a base and first slice that all share.

Every finished slice leaves a folder of scores that names what it was made of. A comparison that was killed, or
whose settings changed, does only what is missing.

`python -m tasks.comparison EXAMPLES WORK SEED [ENTRY]` is one entry in a process of its own, or without ENTRY what
all entries of a seed share. It prints a line of JSON for what it begins and, now and then, for the step that it is at.
"""

import hashlib
import json
import platform
import shutil
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch

from tasks import artifact, closure, evaluate, pretrain, stage1, stage2
from tasks.errors import BadInput, exit_code_of, sentence_of
from tasks.lm.cost import Cost, measured, measured_by_step
from tasks.lm.logits import compute_in
from tasks.lm.methods import METHODS
from tasks.lm.pretrained import BASE
from tasks.method_kinds import check_batches
from tasks.params import FIRST, Entry, Keep, Params, load_params
from tasks.steps import Log, print_step

STEPS = ("tasks.pretrain", "tasks.stage1", "tasks.stage2", "tasks.evaluate", "tasks.lm.cost")
# No retriever is compared; of the methods, and of the solved memory, only what an entry uses counts.
UNUSED = ("tasks.retrieval", "tasks.lm.methods", "tasks.lm.solved")
SOLVED = "tasks.lm.solved.learn"
COST = "cost.json"
GENERAL = Path("raw/general")  # beside the examples
KEY = "key.json"
BEGUN = "begun.json"  # as KEY, of what is at work or was killed
SPENT = "spent.jsonl"  # the cost of stage 1 so far, by step
ERROR = "error.txt"  # the traceback of an entry that ended in a defect
PAUSE = 0.3  # seconds between two lines about steps

Begun = Callable[[str, int], None]


@dataclass(frozen=True)
class _Part:
    """One slice of an entry: its steps of stage 1, what its result is made of, where it lies."""

    slice: str
    steps: int
    key: str
    here: Path


def take_through(
    name: str, params: Params, seed: int, examples: Path, work: Path, log: Log, begun: Begun = lambda *_: None
) -> None:
    """Train and score one entry of the comparison, slice by slice, into `work`/<seed>/<name>/<slice>.

    Args:
        name: of the entry in params.yaml.
        params: all settings; the entry's own go before the pipeline's.
        seed: of base, batches and methods.
        examples: the folder that holds every slice's examples.
        work: where models and scores lie. Of an entry's models only the newest is kept.
        log: is given step and values while a slice is trained.
        begun: is given a slice and its steps when work on it begins.

    Raises:
        BadInput: there is no such entry, it can't have batches as stage 1 takes them, or a slice has no examples.
    """
    parts = _parts(name, params, seed, examples, work)
    entry, how = params.comparison.entries[name], params.stage1
    try:
        check_batches(name, entry.methods, how.accumulate, how.activation_checkpointing)
    except ValueError as error:
        raise BadInput(f"{error}.") from error
    bring_first(params, seed, examples, work, log, begun)
    first = work / str(seed) / FIRST
    done = _leading(parts)
    if 0 < done < len(parts) and not (parts[done - 1].here / "lm" / artifact.MANIFEST).exists():
        done = 0  # a slice in the middle changed: the model before it is gone
    for part in parts[: max(0, done - 1)]:  # a kill may have left them
        shutil.rmtree(part.here / "lm", ignore_errors=True)
    previous = parts[done - 1].here if done else first
    for part in parts[done:]:
        begun(part.slice, part.steps)
        start = first / "base" if entry.joint and part.steps else previous / "lm"
        _bring_slice(params, entry, seed, part, examples / part.slice, start, previous / "lm", first, log)
        if previous != first:
            shutil.rmtree(previous / "lm", ignore_errors=True)
        previous = part.here


def results(name: str, params: Params, seed: int, examples: Path, work: Path) -> list[Path] | None:
    """The folders of an entry's slices, oldest first; None unless all are finished with these settings."""
    parts = _parts(name, params, seed, examples, work)
    return [part.here for part in parts] if _leading(parts) == len(parts) else None


def bring_first(
    params: Params, seed: int, examples: Path, work: Path, log: Log, begun: Begun = lambda *_: None
) -> None:
    """The base, and the model of the first slice, by the pipeline's own settings, prepared by `comparison.first`."""
    first, key = work / str(seed) / FIRST, _first_key(params, seed, examples)
    if _done(first, key):
        return
    examples, entry = examples / next(iter(params.timeline)), _first_entry(params)
    _begin(first, key)
    base, before, scratch = first / "base", first / "stage1", first / "scratch"
    if not (base / artifact.MANIFEST).exists():
        begun("base", params.pretrain.steps)
        texts, within = examples.parents[1] / GENERAL, scratch / "pretrain"
        pretrain.pretrain(params.pretrain, seed, examples, base, within, log, texts, params.pretrained)
    if not (before / artifact.MANIFEST).exists():
        begun(examples.name, params.stage1.steps)
        none, within = Keep(rows="none"), scratch / "stage1"
        stage1.stage1(params.stage1, entry.methods, none, seed, examples, base, before, within, log)
    stage2.stage2(entry.stage2, seed, examples, before, first / "lm", log)
    evaluate.evaluate(params.evaluate, examples, first / "lm", first / "scores", None, base, base)
    artifact.write_file(first / KEY, json.dumps(key).encode())
    for each in (before, scratch):
        shutil.rmtree(each, ignore_errors=True)


def has_first(params: Params, seed: int, examples: Path, work: Path) -> bool:
    """Whether `bring_first` would find nothing to do."""
    return _done(work / str(seed) / FIRST, _first_key(params, seed, examples))


def _first_entry(params: Params) -> Entry:
    return Entry(methods=params.comparison.first, stage2=params.stage2.model_copy(update={"how": "refit"}))


def _first_key(params: Params, seed: int, examples: Path) -> str:
    entry = _first_entry(params)
    given = _sum_of_files(str(examples.parent / GENERAL), "*.txt") + _sum_of_files(params.pretrain.model, "**/*")
    return _key(params, entry, seed, params.stage1.steps, examples / next(iter(params.timeline)), given)


@cache
def _sum_of_files(folder: str, pattern: str) -> str:
    """SHA-256 of the names and bytes of the files in a folder, or of one file; of nothing for a name on the hub."""
    at, total = Path(folder).expanduser(), hashlib.sha256()
    for path in [at] if at.is_file() else sorted(path for path in at.glob(pattern) if path.is_file()):
        total.update(f"{path.relative_to(at).as_posix()} {artifact.file_sum(path)}\n".encode())
    return total.hexdigest()


def _parts(name: str, params: Params, seed: int, examples: Path, work: Path) -> list[_Part]:
    """The slices of an entry in order. The first is only shown to its methods: 0 steps."""
    if name not in params.comparison.entries:
        raise BadInput(f"There is no method '{name}'. Known: {', '.join(params.comparison.entries)}.")
    entry = params.comparison.entries[name]
    if missing := [each for each in params.timeline if not (examples / each / artifact.MANIFEST).exists()]:
        raise BadInput(f"{examples}/{missing[0]} is missing. Run `perennial run` first: it makes the examples.")
    parts: list[_Part] = []
    before = _first_key(params, seed, examples)
    for number, each in enumerate(params.timeline):
        wanted = params.comparison.joint * (number + 1) if entry.joint else 1
        steps = 0 if number == 0 else round(params.comparison.steps * wanted)
        before = _key(params, entry, seed, steps, examples / each, before)
        parts.append(_Part(each, steps, before, work / str(seed) / name / each))
    return parts


def _leading(parts: list[_Part]) -> int:
    """How many of the slices are finished before the first that is not."""
    return next((place for place, part in enumerate(parts) if not _done(part.here, part.key)), len(parts))


def _bring_slice(
    params: Params,
    entry: Entry,
    seed: int,
    part: _Part,
    examples: Path,
    start: Path,
    previous: Path,
    first: Path,
    log: Log,
) -> None:
    """One slice: stage 1, stage 2, scores. Killed in stage 1 it goes on there, with what that had cost before."""
    keep, here = entry.keep, part.here
    _begin(here, part.key)
    trained, scratch = here / "stage1", here / "scratch"
    settings = params.stage1.model_copy(update={"steps": part.steps})
    refit = entry.stage2.model_copy(update={} if part.steps else {"epochs": 0})
    asked = params.evaluate.model_copy(update={"samples": 0})
    costs = artifact.read_json(here / COST) if (here / COST).exists() else {}

    def once(name: str, work: Callable[[], Cost | int]) -> None:
        if name not in costs:
            costs[name] = work()
            artifact.write_file(here / COST, json.dumps(costs).encode())

    def train(log: Log) -> None:
        stage1.stage1(settings, entry.methods, keep, seed, examples, start, trained, scratch, log)

    def score() -> None:
        if part.steps or refit.how == "solved":
            evaluate.evaluate(asked, examples, here / "lm", here / "scores", None, previous, first / "base")
        else:  # one model for all methods: its scores are there
            shutil.copytree(first / "scores", here / "scores", dirs_exist_ok=True)

    once("stage1", lambda: measured_by_step(train, log, here / SPENT))
    once("stage2", lambda: measured(lambda: stage2.stage2(refit, seed, examples, trained, here / "lm", log)))
    once("evaluate", lambda: measured(score))
    once("stored_bytes", lambda: stored_bytes(keep, examples, here))
    artifact.write_file(here / KEY, json.dumps(part.key).encode())
    for each in (trained, scratch):
        shutil.rmtree(each, ignore_errors=True)


def _begin(folder: Path, key: str) -> None:
    """Go on in the folder where a killed process left it; empty it first if it is finished or of something else."""
    if _is(folder / BEGUN, key) and not (folder / KEY).exists():
        return
    shutil.rmtree(folder, ignore_errors=True)
    artifact.write_file(folder / BEGUN, json.dumps(key).encode())


def _done(folder: Path, key: str) -> bool:
    return _is(folder / KEY, key)


def _is(file: Path, key: str) -> bool:
    try:
        return file.exists() and artifact.read_json(file) == key
    except ValueError:
        return False


def _key(params: Params, entry: Entry, seed: int, steps: int, examples: Path, before: str) -> str:
    """What a slice's result is made of: settings, bytes, code and machine, and all that of the slice before."""
    used = [METHODS[each.name].__module__ for each in entry.methods]
    used += [SOLVED] if entry.stage2.how == "solved" else []
    code = _code(tuple(used))
    settings = [params.pretrain, params.pretrained, params.stage1, params.evaluate, entry]
    made_of = [
        [each.model_dump(mode="json") for each in settings], seed, steps, params.threads, params.precision,
        platform.machine(), artifact.manifest_sum(examples), before, code,
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()


@cache
def _code(used: tuple[str, ...]) -> list[str]:
    own = [closure.code_sum(module, without=("tasks.retrieval",)) for module in used]
    return [closure.code_sum(*STEPS, without=UNUSED), *own]


def stored_bytes(keep: Keep, examples: Path, here: Path) -> int:
    """Bytes that the next slice needs beside the model: the methods' files, and the old rows that are kept."""
    files = [path for path in (here / "lm" / "method").rglob("*") if path.is_file() and path != here / "lm" / BASE]
    own = sum(path.stat().st_size for path in files)
    if keep.rows != "all":
        return own
    rows, folder = 0, examples
    while link := artifact.read_json(folder / "previous.json"):
        rows += (folder / "train.jsonl").stat().st_size
        folder = folder.parent / link["slice"]
    return own + rows


def main() -> int:
    """In a process of its own, with one thread: seconds are compared, and many such processes share the machine."""
    examples, work_folder, seed, *names = sys.argv[1:]
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    error_file = Path(work_folder) / seed / (names[0] if names else FIRST) / ERROR
    error_file.unlink(missing_ok=True)
    params, progress = load_params(), _Progress()
    compute_in(params.precision)

    def work() -> None:
        given = (params, int(seed), Path(examples), Path(work_folder), progress.log, progress.begun)
        try:
            take_through(names[0], *given) if names else bring_first(*given)
        except Exception as error:
            if not sentence_of(error):
                artifact.write_file(error_file, traceback.format_exc().encode())
            raise

    return exit_code_of(work)


class _Progress:
    """Prints how far it is, for the process that shows it."""

    def __init__(self) -> None:
        self.last, self.step = 0.0, 0

    def begun(self, name: str, steps: int) -> None:
        self.step = 0
        print(json.dumps({"slice": name, "steps": steps}), flush=True)

    def log(self, step: int, values: dict[str, float]) -> None:
        if step > self.step and time.monotonic() - self.last > PAUSE:  # stage 2 counts from 1 again
            self.last, self.step = time.monotonic(), step
            print_step(step, values)


if __name__ == "__main__":
    raise SystemExit(main())
