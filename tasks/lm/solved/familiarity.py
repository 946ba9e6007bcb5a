"""Whether a model's memory knows a question."""

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tasks.lm.batches import batches_of, encode
from tasks.lm.causal import limit_of
from tasks.lm.solved.module import TOKENS, memory_of

BARELY = 0.01  # the least doubt about a question that is not known


@torch.no_grad()
def doubts(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompts: list[str]) -> Tensor:
    """The doubt about each question (see module.py and asked.py), [prompts]: above 0 it is not known. The model must
    have a solved memory.
    """
    memory = memory_of(model)
    assert memory is not None and memory.buckets
    model.eval()
    sequences = encode([{"prompt": prompt, "target": ""} for prompt in prompts], tokenizer, limit_of(model))
    found = torch.zeros(len(prompts))
    for run, batch in batches_of(sequences, TOKENS, model.device):
        seen = memory.watch(model, batch, [(row, sequences[index].start - 1) for row, index in enumerate(run)])
        heard = memory.ask(seen)
        answer = memory.read(heard.predicted)
        answers = [tokens[said].tolist() for tokens, said in zip(answer.tokens, answer.said, strict=True)]
        misses = memory.asks_for.misses([prompts[index] for index in run], answers)
        doubt = heard.doubt.cpu()
        found[run] = torch.where(misses, doubt.clamp(min=BARELY), doubt)
    return found


def is_known(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompt: str) -> bool:
    """Whether the memory doubts a question no more than all but two in a hundred that it was taught in other words, and
    what it would answer is what the question asks for."""
    return float(doubts(model, tokenizer, [prompt])) <= 0
