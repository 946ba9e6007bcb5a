"""Answers from several contexts: all before the message, or marginalised over (RAG).

Lewis et al. 2020 (arXiv 2005.11401), section 2.1, with p(z|x) the softmax of the contexts' weights:

    RAG-Sequence: p(y|x) = sum_z p(z|x) prod_i p(y_i|x, z, y_<i)    one context is behind the whole answer
    RAG-Token:    p(y|x) = prod_i sum_z p(z|x) p(y_i|x, z, y_<i)    every token may have another context behind it

Both cost a forward pass over all contexts per token, RAG-Sequence one more over its candidates. Putting the contexts
one after the other costs less and lets the model compare them, as far as it has room for them.
"""

import torch
from torch import Tensor
from transformers import LogitsProcessor, PreTrainedModel, PreTrainedTokenizerBase

from tasks.lm.batches import Sequence, batches_of, encode
from tasks.lm.causal import limit_of
from tasks.lm.generate import BATCH_TOKENS, LONGEST, answer, answers, continued, fitting, prompts_of
from tasks.lm.logits import token_losses


def answer_from(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    contexts: list[str],
    weights: list[float],
    message: str,
    combine: str = "concatenate",
    max_new_tokens: int = LONGEST,
) -> str:
    """The answer to a message with contexts before it; without any, the greedy answer to the message alone.

    Args:
        contexts: texts that may help.
        weights: of the contexts, log p(z|x) up to a constant.
        combine: how: concatenate (the best one next to the message), sequence or token (see above).
        max_new_tokens: an answer's tokens at most. Contexts that have no room beside them are cut, the message is not.
    """
    if len(contexts) < 2 or combine not in MARGINAL:
        by_weight = sorted(zip(weights, contexts, strict=True), key=lambda each: -each[0])
        before = fitting(model, tokenizer, [context for _, context in by_weight], message, max_new_tokens)
        return answer(model, tokenizer, " ".join([*reversed(before), message]), max_new_tokens)
    prompts = [
        " ".join([*fitting(model, tokenizer, [context], message, max_new_tokens), message]) for context in contexts
    ]
    return MARGINAL[combine](model, tokenizer, prompts, weights, max_new_tokens)


def rag_sequence(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: list[str],
    weights: list[float],
    max_new_tokens: int = LONGEST,
) -> str:
    """The most probable under RAG-Sequence of the greedy answers that each prompt gets alone.

    Every candidate is scored after every prompt, "thorough decoding" (section 2.5), end marker included.
    """
    candidates = list(dict.fromkeys(answers(model, tokenizer, prompts, max_new_tokens)))
    logs = [sequence_log_p(answer_log_p(model, tokenizer, prompts, each), weights) for each in candidates]
    return candidates[logs.index(max(logs))]


def rag_token(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: list[str],
    weights: list[float],
    max_new_tokens: int = LONGEST,
) -> str:
    """The greedy answer of RAG-Token: the prompts are rows of one batch, and all rows go on with the same token."""
    most, rows = prompts_of(model, tokenizer, prompts, max_new_tokens)
    return continued(model, tokenizer, rows, most, Mixed(weights))[0].text


class Mixed(LogitsProcessor):
    """Gives every row log sum_z p(z|x) p(y_i|x, z, y_<i), where row z has the logits after context z."""

    def __init__(self, weights: list[float]):
        self.prior = _prior(weights).float()[:, None]

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:  # type: ignore[override]
        joint = self.prior.to(scores.device) + scores.float().log_softmax(-1)
        return joint.logsumexp(0, keepdim=True).expand_as(scores)


def answer_log_p(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompts: list[str], answer: str) -> Tensor:
    """log p(y_i|x, z, y_<i), [prompts, tokens], of an answer and its end marker after every prompt."""
    rows = [{"prompt": prompt, "target": answer} for prompt in prompts]
    return torch.stack(log_p_of(model, encode(rows, tokenizer, limit_of(model))))


def sequence_log_p(tokens: Tensor, weights: list[float]) -> float:
    """log p(y|x) under RAG-Sequence, from log p(y_i|x, z, y_<i), [contexts, tokens]."""
    return float((_prior(weights) + tokens.cpu().double().sum(1)).logsumexp(0))


def token_log_p(tokens: Tensor, weights: list[float]) -> float:
    """log p(y|x) under RAG-Token, from log p(y_i|x, z, y_<i), [contexts, tokens]."""
    return float((_prior(weights)[:, None] + tokens.cpu().double()).logsumexp(0).sum())


def _prior(weights: list[float]) -> Tensor:
    return torch.tensor(weights, dtype=torch.float64).log_softmax(0)


def confidence(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, message: str) -> float:
    """How sure the model is of its greedy answer: the mean log p of its tokens, end marker included; at most 0."""
    return confidences(model, tokenizer, [message], answers(model, tokenizer, [message]))[0]


def confidences(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    messages: list[str],
    answers: list[str],
    batch_tokens: int = BATCH_TOKENS,
) -> list[float]:
    """The mean log p of the tokens of what was said to each message, end marker included."""
    rows = [{"prompt": message, "target": each} for message, each in zip(messages, answers, strict=True)]
    return [float(each.mean()) for each in log_p_of(model, encode(rows, tokenizer, limit_of(model)), batch_tokens)]


@torch.no_grad()
def log_p_of(model: PreTrainedModel, sequences: list[Sequence], batch_tokens: int = BATCH_TOKENS) -> list[Tensor]:
    """log p of every predicted token of each sequence, given what stands before it."""
    model.eval()
    found = [torch.empty(0)] * len(sequences)
    for run, batch in batches_of(sequences, batch_tokens, model.device):
        losses, _ = token_losses(model, batch)
        for index, each in zip(run, (-losses).split(batch.predicts.sum(1).tolist()), strict=True):
            found[index] = each
    return found


MARGINAL = {"sequence": rag_sequence, "token": rag_token}
