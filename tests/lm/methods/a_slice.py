"""One slice as stage 1 trains it, without its files of examples: from a folder into a folder."""

import torch

from tasks import artifact
from tasks.lm.batches import Mixture, Part, encode
from tasks.lm.causal import limit_of, load, save
from tasks.lm.logits import precision
from tasks.lm.methods import METHODS
from tasks.lm.methods.seen import count_slice, seen_in
from tasks.lm.training import Schedule, train

STEPS = 6
METHOD_NAMES = {method: name for name, method in METHODS.items()}


def quiet(step, values):
    pass


def train_slice(method, rows, previous, out, learning_rate=1e-2, steps=STEPS, log=quiet):
    """Return the model that `end` makes, and what the trained one said of IDS before that."""
    model, tokenizer = load(previous)
    name = METHOD_NAMES.get(type(method), "new")
    method.steps, method.seen = steps, seen_in(previous, name, learns=steps > 0)
    model = method.begin(model, tokenizer, previous)
    data = Mixture([Part(encode(rows, tokenizer, limit_of(model)), 1.0)], 128, steps, 0, model.device)
    scratch = out.with_name(f"{out.name}-scratch")
    schedule = Schedule(steps, learning_rate, 0.1, checkpoint_every=2)
    train(model, data, schedule, methods=[method], scratch=scratch, log=log, seed=0)
    before_end = logits(model)
    with artifact.writing(out) as folder:
        method.keepable = rows
        ended = method.end(model, data, folder / "method")
        count_slice(previous, folder / "method", [name], learnt=steps > 0)
        save(ended, tokenizer, folder)
    return ended, before_end


def start(tiny, folder):
    """The folder of the base model."""
    model, tokenizer = tiny
    with artifact.writing(folder) as partial:
        save(model, tokenizer, partial)
    return folder


IDS = torch.randint(300, (3, 9), generator=torch.Generator().manual_seed(5))


@torch.no_grad()
def logits(model):
    """What the model says by its own forward pass, [3, 9, vocabulary]; soft prompts take no places here."""
    model.eval()
    with precision(IDS.device):
        return model(input_ids=IDS).logits[:, -IDS.shape[1] :]


def weights(folder):
    """All weights that were saved, by name."""
    model, _ = load(folder)
    return {name: value.detach().clone() for name, value in model.named_parameters()}


def changed(before, after):
    """The names of the weights that are not the same."""
    return {name for name, value in after.items() if name not in before or not torch.equal(before[name], value)}


def contents(folder):
    """Every file below, by its place."""
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
