"""How unseen a question is to a model's memory."""

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tasks.lm.batches import batches_of, encode
from tasks.lm.causal import limit_of
from tasks.lm.solved.module import TOKENS, memory_of


@torch.no_grad()
def unseen(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompts: list[str]) -> Tensor:
    """From 0, seen, to 1, [prompts]; the model must have a solved memory."""
    memory = memory_of(model)
    assert memory is not None and memory.solution is not None
    model.eval()
    sequences = encode([{"prompt": prompt, "target": ""} for prompt in prompts], tokenizer, limit_of(model))
    found = torch.zeros(len(prompts))
    for run, batch in batches_of(sequences, TOKENS, model.device):
        places = [(row, sequences[index].start - 1) for row, index in enumerate(run)]
        found[run] = memory.solution.unseen(memory.watch(model, batch, places)).cpu()
    return found
