"""Answers that are decoded together are those that are decoded alone."""

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from tasks.lm import generate
from tasks.lm.batches import Mixture, Part, encode
from tasks.lm.causal import build
from tasks.lm.generate import answer, answers
from tasks.lm.training import Schedule, train
from tasks.scoring.answers import exact_matches
from tests.lm.conftest import ROWS, SETTINGS

MESSAGES = [
    "Who leads Norway?", "Peru", "Please tell me, if you know it, who leads Chile?", "Who leads Japan?", "?",
]  # fmt: skip


@pytest.fixture(scope="module", params=["rotary positions", "learnt positions"])
def taught(request, tmp_path_factory):
    """A tiny model that has learnt six answers, so that its answers end at different places."""
    model, tokenizer = build(SETTINGS, [f"{row['prompt']} {row['target']}" for row in ROWS], seed=1)
    if request.param == "learnt positions":
        torch.manual_seed(0)
        shape = {"n_positions": 64, "n_embd": 32, "n_layer": 2, "n_head": 2, "resid_pdrop": 0.0, "attn_pdrop": 0.0}
        model = GPT2LMHeadModel(GPT2Config(vocab_size=len(tokenizer), embd_pdrop=0.0, **shape))
    data = Mixture([Part(encode(ROWS, tokenizer, 64), 1.0)], 96, 200, 3, model.device)
    train(model, data, Schedule(200, 1e-2, 0.1), scratch=tmp_path_factory.mktemp("s"), log=lambda *_: None, seed=0)
    return model, tokenizer


@pytest.mark.parametrize("batch_tokens", [1, 100, 10_000])
def test_a_batch_of_messages_gets_the_answers_that_each_gets_alone(taught, batch_tokens):
    assert answers(*taught, MESSAGES, 12, batch_tokens) == [answer(*taught, message, 12) for message in MESSAGES]


def test_an_answer_in_a_batch_is_the_target_where_teacher_forcing_says_so(taught):
    said = answers(*taught, [MESSAGES[2], *(row["prompt"] for row in ROWS)])[1:]
    right = exact_matches(*taught, ROWS, 1000)
    assert [answer == row["target"] for answer, row in zip(said, ROWS, strict=True)] == right
    assert sum(right) == 6


def test_every_message_is_decoded_in_one_batch_if_there_is_room(taught, monkeypatch):
    sizes = []
    real = generate._continued
    monkeypatch.setattr(
        generate, "_continued", lambda model, tokenizer, prompts, most: sizes.append(len(prompts)) or real(
            model, tokenizer, prompts, most)
    )  # fmt: skip
    answers(*taught, MESSAGES, 12, 10_000)
    assert sizes == [len(MESSAGES)]


def test_a_message_that_is_too_long_loses_its_beginning(taught):
    longer, shorter = ("word " * count + ROWS[0]["prompt"] for count in (200, 100))
    assert answers(*taught, [longer], 8) == answers(*taught, [shorter], 8)


def test_without_messages_there_are_no_answers(taught):
    assert answers(*taught, []) == []
