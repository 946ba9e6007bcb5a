"""Tiny timelines with a solved memory, and what their models say."""

import torch

from tasks import artifact
from tasks.corpus.slices import history, still_true, valid_facts
from tasks.lm.batches import batches_of, encode
from tasks.lm.causal import limit_of, load
from tasks.lm.logits import hidden_states, logits_of
from tasks.scoring.answers import exact_matches
from tasks.solved_params import Solved
from tests.every_step import CHAT, STAGE2, TEXTS, Timeline, facts

SMALL = Solved(width=512, codes=512, window=8, grams=128)
SOLVED = STAGE2.model_copy(update={"how": "solved", "solved": SMALL})
FIRST = facts(("Peru", "Lima"), ("Chile", "Santiago"), ("Ghana", "Accra")) | CHAT | TEXTS
NEWS = facts(("Peru", "Cusco"), ("Nepal", "Kathmandu"))
LATER = facts(("Cuba", "Havana"), ("Nepal", "Pokhara"))


def brought(root, *slices, **settings):
    """A timeline of slices, each learnt by stage 1 and stage 2; its last model's folder, and its examples'."""
    timeline, before = Timeline(root, **{"stage2": SOLVED} | settings), "base"
    for name, files in slices:
        timeline.bring_examples(name, files, before)
        timeline.bring_model(name, before)
        before = name
    return timeline


def known_rows(timeline, last="three"):
    """What is asked of all that is true at a slice, and everyday talk."""
    slices = history(timeline.root / "examples" / last)
    rows = [row for each in slices for row in still_true(each.test, valid_facts(slices)) if row["prompt"]]
    return rows + [row for each in slices for row in each.train if row["kind"] == "chat"]


@torch.no_grad()
def logits(model, tokenizer, rows):
    """Of every answer's tokens, in the rows' order."""
    found = [None] * len(rows)
    for run, batch in batches_of(encode(rows, tokenizer, limit_of(model)), 2048, model.device):
        parts = logits_of(model, hidden_states(model, batch.ids)[batch.predicts]).split(batch.predicts.sum(1).tolist())
        for index, each in zip(run, parts, strict=True):
            found[index] = each
    return torch.cat(found)


def answered(folder, rows):
    model, tokenizer = load(folder)
    return exact_matches(model, tokenizer, rows, 2048), logits(model, tokenizer, rows)


def whole_again(folder):
    """A folder that was changed, with sums as they are now."""
    files = {
        path.relative_to(folder).as_posix(): artifact.file_sum(path) for path in folder.rglob("*") if path.is_file()
    }
    files.pop(artifact.MANIFEST)
    artifact.write_json(folder / artifact.MANIFEST, {"files": files})
