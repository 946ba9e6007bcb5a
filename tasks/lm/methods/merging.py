"""Merging: of what a slice changed, as much is kept as is best for old and new held-out rows together.

The task vector of a slice is tau = theta_new - theta_previous. The kept weights are theta_previous + c * m(tau):

* linear (Wortsman et al. 2022, WiSE-FT), task_vectors (Ilharco et al. 2023): m(tau) = tau
* ties (Yadav et al. 2023, arXiv 2306.01708): only each tensor's largest values; where signs differ, the stronger wins
* dare (Yu et al. 2024, arXiv 2311.03099): random values are dropped, and those that are left divided by their share

New rows alone would always choose c = 1, which is naive fine-tuning: where nothing older is trained on, c is a setting.

With `earlier`, m takes two vectors, tau and the sum of what earlier slices changed, and its result is added to the
weights that both start from: the model of the first slice, which is not merged itself. peft does the arithmetic.
"""

from pathlib import Path
from typing import Any, final

import torch
from peft.utils.merge_utils import dare_linear, task_arithmetic, ties
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tasks import artifact
from tasks.lm.batches import Mixture, Sequence, batches_of, encode
from tasks.lm.causal import limit_of
from tasks.lm.logits import token_losses
from tasks.lm.methods.method import Method, Row, Shares
from tasks.lm.methods.weights import of_each
from tasks.lm.shares import split_off
from tasks.method_params import Merging as MergingSettings

CHOICE = "merging.json"
EARLIER = "merging.safetensors"
SCORED_TOKENS = 4096  # per forward pass
MOST_ROWS = 256  # held out of a share, so that scoring does not take longer with every slice


@final
class Merging(Method):
    """Takes, of `coefficients`, the c with the highest mean log-likelihood per answer token, mean over the shares.

    It holds `held_out` of the rows of every share that the methods before it in the list have made, so it stands
    after replay. Where there are no old or no new ones to hold out, c is `alone`.
    """

    def __init__(self, settings: MergingSettings, seed: int):
        self.settings = settings
        self.seed = seed
        self.before: dict[str, Tensor] = {}
        self.earlier: dict[str, Tensor] = {}
        self.held_out: list[list[Row]] = []

    def begin(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, previous: Path) -> PreTrainedModel:
        self.tokenizer = tokenizer
        folder = previous / "method"
        if self.seen.knows:
            self.before = {name: value.detach().clone() for name, value in model.named_parameters()}
        if self.settings.earlier and (folder / EARLIER).exists():
            self.earlier = of_each(load_file(folder / EARLIER), model)
        return model

    def examples(self, shares: Shares, older: list[Row]) -> Shares:
        self.held_out = []
        if not self.before or not any(each.rows for each in shares):
            return shares
        left: Shares = []
        held: list[list[Row]] = []
        for number, each in enumerate(shares):
            (rest,), (out,) = split_off([each], self._part(len(each.rows)), self.seed + number)
            left.append(rest)
            held.append(out.rows)
        if not (held[0] and any(held[1:])):
            return shares
        self.held_out = [rows for rows in held if rows]
        return left

    def _part(self, rows: int) -> float:
        """Which part of so many rows is held out: at least one, unless it is the only one."""
        return min(max(self.settings.held_out, 1 / rows), MOST_ROWS / rows) if rows > 1 else 0.0

    @torch.no_grad()
    def end(self, model: PreTrainedModel, data: Mixture, out: Path) -> PreTrainedModel:
        out.mkdir(exist_ok=True)
        if not self.before:
            artifact.write_json(out / CHOICE, {"coefficient": None, "scores": []})
            return model
        merged = self._merged(model)
        scores = self._scores(model, merged) if self.held_out else []
        best = max(scores, key=lambda each: (each["mean"], each["coefficient"]))["coefficient"] if scores else None
        coefficient = self.settings.alone if best is None else best
        self._put(model, merged, coefficient)
        artifact.write_json(out / CHOICE, {"coefficient": coefficient, "scores": scores})
        if self.settings.earlier:
            save_file({name: (coefficient * value).cpu() for name, value in merged.items()}, out / EARLIER)
        return model

    def _scores(self, model: PreTrainedModel, merged: dict[str, Tensor]) -> list[dict[str, Any]]:
        """Of each coefficient: the mean log-likelihood of every share's held-out rows, and the mean of these."""
        sequences = [encode(rows, self.tokenizer, limit_of(model)) for rows in self.held_out]
        scores = []
        for coefficient in self.settings.coefficients:
            self._put(model, merged, coefficient)
            shares = [log_likelihood(model, each) for each in sequences]
            scores.append({"coefficient": coefficient, "mean": sum(shares) / len(shares), "shares": shares})
        return scores

    def _merged(self, model: PreTrainedModel) -> dict[str, Tensor]:
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)  # of what dare drops
            return {name: self._combined(name, value) for name, value in model.named_parameters()}

    def _combined(self, name: str, value: Tensor) -> Tensor:
        tasks = [value.float() - self.before[name].float()]
        if self.earlier:
            tasks.insert(0, self.earlier[name])
        weights = torch.ones(len(tasks), device=value.device)
        if self.settings.how == "ties":
            return ties(tasks, weights, self.settings.density)
        if self.settings.how == "dare":
            return dare_linear(tasks, weights, self.settings.density)
        return task_arithmetic(tasks, weights)

    def _put(self, model: PreTrainedModel, merged: dict[str, Tensor], coefficient: float) -> None:
        for name, value in model.named_parameters():
            origin = self.before[name].float()
            if self.earlier:
                origin = origin - self.earlier[name]
            value.copy_(origin + coefficient * merged[name])


@torch.no_grad()
def log_likelihood(model: PreTrainedModel, sequences: list[Sequence]) -> float:
    """The mean log-probability of an answer token, in nats."""
    model.eval()
    found = []
    for _, batch in batches_of(sequences, SCORED_TOKENS, model.device):
        losses, _ = token_losses(model, batch)
        found.append(-losses.double())
    return float(torch.cat(found).mean())
