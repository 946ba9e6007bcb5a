"""Five years into a pretrained model by forward passes alone: `python -m benchmarks.pretrained_memory MODEL`.

MODEL is a plain folder or a hub name; its backbone is not trained. Every slice of this project's data/raw, in the
languages asked for, is added to a solved memory. At the end all that is true is asked as taught, reworded and as people
type; the last slice's questions are asked of the memory before it; the perplexity of general text is compared.
"""

import json
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from tasks import artifact
from tasks.corpus.general import read_general
from tasks.corpus.slices import Examples, history, load_examples, valid_facts
from tasks.dataset import dataset
from tasks.evaluate import measure
from tasks.lm.causal import load, save
from tasks.lm.solved.calibration import solve_for
from tasks.lm.solved.familiarity import doubts
from tasks.lm.solved.learn import begun, learn_slice
from tasks.origin import origin
from tasks.params import PARAMS, Evaluate, load_params
from tasks.scoring.familiarity import known_and_unknown, told_apart
from tasks.scoring.general import general_perplexity
from tasks.scoring.knowledge import valid_accuracy
from tasks.scoring.sampling import sample_rows
from tasks.solved_params import Solved

RAW, GENERAL = Path("data/raw"), Path("data/raw/general")
SEED = 20
OF_FACTS = 4  # questions a fact in a language


def main(
    model: str,
    languages: Annotated[str, typer.Option(help="Of the facts, with commas between.")] = "en",
    wordings: int = OF_FACTS,
    settings: Annotated[str, typer.Option(help="Of stage2.solved, as JSON.")] = "{}",
    out: Annotated[Path | None, typer.Option(help="Where the model is left, with its memory.")] = None,
) -> None:
    """Learn and ask; print seconds and shares of right answers."""
    params = load_params(Path(PARAMS))
    solved = Solved.model_validate({**params.stage2.solved.model_dump(), "wordings": wordings}
                                   | json.loads(settings))  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        examples = _examples(Path(folder), tuple(languages.split(",")))
        started = time.monotonic()
        lm, tokenizer = load(model)
        plain = general_perplexity(lm, tokenizer, read_general(GENERAL), params.evaluate.batch_tokens)
        print(f"{lm.num_parameters() / 1e6:,.0f} M parameters, loaded in {time.monotonic() - started:.0f} s")
        memory, kept = begun(lm, tokenizer, solved, load_examples(examples[0]), Path(model))
        for each in examples:
            if each == examples[-1]:
                _ask_unknown((lm, tokenizer), history(each), params.evaluate)
            begin = time.monotonic()
            rows = learn_slice(lm, tokenizer, memory, kept, load_examples(each), each, SEED)
            added = time.monotonic()
            solve_for(lm, tokenizer, memory, kept, rows, SEED)
            count = sum(len(some) for some in rows.values())
            print(f"{each.name}: {count} questions, {added - begin:.0f} s, solved in {time.monotonic() - added:.0f} s")
        learnt = time.monotonic()
        if out:
            with artifact.writing(out) as folder_of_model:
                save(lm, tokenizer, folder_of_model)
        _ask((lm, tokenizer), history(examples[-1]), params.evaluate)
        after = general_perplexity(lm, tokenizer, read_general(GENERAL), params.evaluate.batch_tokens)
        for name, value in plain.items():
            print(f"perplexity of general text, {name}: {value:.3f} before, {after[name]:.3f} after")
        print(f"{learnt - started:.0f} s to learn, {time.monotonic() - started:.0f} s in all")


def _examples(root: Path, languages: tuple[str, ...]) -> list[Path]:
    """Every slice's examples, in these languages, written below `root`."""
    params = load_params(Path(PARAMS))
    settings, before = params.dataset.model_copy(update={"languages": languages}), root / "base"
    origin(RAW / "relations.yaml", before)
    made = []
    for name in params.timeline:
        dataset(settings, RAW / name, before, root / name)
        before = root / name
        made.append(before)
    return made


def _ask(model: tuple[Any, Any], slices: list[Examples], settings: Evaluate) -> None:
    known = measure(*model, slices, sample_rows(slices, valid_facts(slices), settings.rows), settings)
    for kind, share in valid_accuracy(known).items():
        by_slice = ", ".join(
            f"{name} {each:.1%}" for name, each in known.accuracies()[kind].items() if each is not None
        )
        print(f"{kind}: {share:.1%} ({by_slice})", flush=True)


def _ask_unknown(model: tuple[Any, Any], slices: list[Examples], settings: Evaluate) -> None:
    """What the memory before the last slice thinks of what that brings, beside what it knows."""
    for kind, (known, unknown) in known_and_unknown(slices, settings.rows).items():
        doubt = doubts(*model, [row["prompt"] for row in known + unknown])
        found = told_apart(doubt[: len(known)], doubt[len(known) :])
        own = f"{found['unknown_refused']:.1%} at its own limit, and {found['known_refused']:.1%} of the known"
        print(f"{kind}: AUROC {found['auroc']:.3f}; of the unknown refused {found['refused']:.1%} at 2 % lost, {own}")


if __name__ == "__main__":
    typer.run(main)
