"""What stage 2 contributes, and on which rows: `python -m benchmarks.stage2_study WORK [SEED ...]`

Takes the project's timeline up to its last slice by stage 1 after stage 1, as `perennial methods` does, then refits the
head of the last slice's model in different ways and scores each. WORK keeps the models; what is there is not done
again. Run it where `perennial run` or `perennial methods` has made the examples.
"""

import json
import shutil
import sys
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from tasks import artifact, comparison
from tasks.evaluate import evaluate
from tasks.method_params import Replay
from tasks.params import Keep, Params, Stage2, load_params
from tasks.stage1 import stage1
from tasks.stage2 import stage2

EXAMPLES = Path("data/examples")
REPLAY = (Replay(name="replay", share=0.7),)
ALL = Keep(rows="all")
STAGE1 = {  # methods, and the share of the comparison's steps
    "replay": (REPLAY, 1.0),
    "replay, half the steps": (REPLAY, 0.5),
    "naive": ((), 1.0),
}
STAGE2 = {
    "off": {"epochs": 0},
    "same rows": {},
    "same rows, 1 epoch": {"epochs": 1},
    "same rows, 4 epochs": {"epochs": 4},
    "same rows, rate x 3": {"learning_rate": 9e-4},
    "at most 2,000 rows": {"max_rows": 2000},
    "the slice's own": {"rows": "fresh"},
    "older ones only": {"rows": "older"},
    "as many of every slice": {"rows": "balanced"},
}
SHOWN = ("accuracy", "paraphrase_accuracy")


def main(work: Path, seeds: list[int]) -> None:
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    params = load_params()
    params = params.model_copy(update={"stage2": params.stage2.model_copy(update={"how": "refit"})})
    found: dict[tuple[str, str], list[dict[str, float]]] = {}
    for seed in seeds:
        comparison.bring_first(params, seed, EXAMPLES, work, quiet)
        for how in STAGE1:
            before = chain(params, seed, how, work)
            for name, changes in STAGE2.items():
                settings = params.stage2.model_copy(update=changes)
                found.setdefault((how, name), []).append(refitted(params, settings, seed, before, name))
                print(f"{how}, seed {seed}, {name}: {found[how, name][-1]}", flush=True)
    print(f"\n| stage 2 | {' | '.join(STAGE1)} |\n|---|{'---|' * len(STAGE1)}")
    for name in STAGE2:
        cells = [
            " / ".join(f"{100 * fmean(each[key] for each in found[how, name]):.1f}" for key in SHOWN) for how in STAGE1
        ]
        print(f"| {name} | {' | '.join(cells)} |")


def chain(params: Params, seed: int, how: str, work: Path) -> Path:
    """The last slice's model after stage 1; the slices before it have the pipeline's own stage 2."""
    methods, share = STAGE1[how]
    folder = work / str(seed) / f"stage2 study, {how}"
    settings = params.stage1.model_copy(update={"steps": round(params.comparison.steps * share)})
    previous = work / str(seed) / comparison.FIRST / "lm"
    _, *later = params.timeline
    for name in later:
        here, examples = folder / name, EXAMPLES / name
        if not (here / "stage1" / artifact.MANIFEST).exists():
            stage1(settings, methods, ALL, seed, examples, previous, here / "stage1", here / "scratch", quiet)
            shutil.rmtree(here / "scratch", ignore_errors=True)
        if not (here / "lm" / artifact.MANIFEST).exists():
            stage2(params.stage2, seed, examples, here / "stage1", here / "lm", quiet)
        previous = here / "lm"
    return folder / later[-1]


def refitted(params: Params, settings: Stage2, seed: int, before: Path, name: str) -> dict[str, float]:
    """Refit the head by these settings, and score: all that is true, both test sets."""
    done = before / f"{name}.json"
    if not done.exists():
        examples = EXAMPLES / before.name
        stage2(settings, seed, examples, before / "stage1", before / "refitted", quiet)
        evaluate(params.evaluate, examples, before / "refitted", before / "scores")
        scores = artifact.read_json(before / "scores/scores.json")
        artifact.write_file(done, json.dumps(scores["valid"]).encode())
    told: dict[str, Any] = json.loads(done.read_text())
    return told


def quiet(step: int, values: dict[str, float]) -> None:
    pass


if __name__ == "__main__":
    main(Path(sys.argv[1]), [int(seed) for seed in sys.argv[2:]] or [20])
