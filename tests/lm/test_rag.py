"""RAG-Sequence and RAG-Token are the sums of the paper, and with one context they are the plain model."""

import itertools
import math

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, GPTNeoXConfig, GPTNeoXForCausalLM

from tasks.lm.batches import Mixture, Part, Sequence, encode
from tasks.lm.causal import build, limit_of
from tasks.lm.generate import answer, answers
from tasks.lm.rag import (
    Mixed,
    answer_from,
    answer_log_p,
    confidence,
    confidences,
    log_p_of,
    rag_sequence,
    rag_token,
    sequence_log_p,
    token_log_p,
)
from tasks.lm.template import PLAIN, start_token
from tasks.lm.training import Schedule, train
from tests.lm.conftest import ROWS, SETTINGS

VOCABULARY, END, LONGEST = 5, 4, 4
DOCUMENTS = [[0, 1, 2], [3, 1], [2, 2, 0, 1]]
WEIGHTS = [0.3, -1.0, 0.9]
PRIOR = [math.exp(weight) / sum(map(math.exp, WEIGHTS)) for weight in WEIGHTS]

LEADERS = {"Peru": "Ben", "Chile": "Cleo"}
NOTES = [f"{leader} leads {name}." for name, leader in LEADERS.items()]
QUESTIONS = [*(row["prompt"] for row in ROWS), "Peru", "?", "Who leads Norway? " * 20]


@pytest.fixture(scope="module", params=["rotary positions", "learnt positions"])
def five(request):
    """A random model of five tokens: every answer can be enumerated."""
    torch.manual_seed(3)
    if request.param == "learnt positions":
        model = GPT2LMHeadModel(GPT2Config(vocab_size=VOCABULARY, n_positions=16, n_embd=16, n_layer=2, n_head=2))
    else:
        model = GPTNeoXForCausalLM(GPTNeoXConfig(
            vocab_size=VOCABULARY, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
            max_position_embeddings=16,
        ))  # fmt: skip
    for weights in model.parameters():
        torch.nn.init.normal_(weights, std=0.5)
    return model.eval()


@pytest.fixture(scope="module")
def taught(tmp_path_factory):
    """A tiny model that has learnt six answers by heart."""
    model, tokenizer = build(SETTINGS, [f"{row['prompt']} {row['target']}" for row in ROWS], seed=1)
    data = Mixture([Part(encode(ROWS, tokenizer, 64), 1.0)], 96, 200, 3, model.device)
    train(model, data, Schedule(200, 1e-2, 0.1), scratch=tmp_path_factory.mktemp("s"), log=lambda *_: None, seed=0)
    return model, tokenizer


def all_answers():
    """Every sequence of tokens that the end marker ends, and every one that the limit does."""
    found = []
    for length in range(LONGEST):
        found += [(*each, END) for each in itertools.product(range(END), repeat=length)]
    return [*found, *itertools.product(range(END), repeat=LONGEST)]


def one_by_one(model, document, answer):
    """p(y_i|x, z, y_<i) of each token, by a forward pass of its own."""
    found = []
    for place, token in enumerate(answer):
        logits = model(torch.tensor([[*document, *answer[:place]]])).logits[0, -1]
        found.append(float(logits.detach().double().softmax(-1)[token]))
    return found


def after_each_document(model, answer):
    return torch.stack(log_p_of(model, [Sequence([*each, *answer], len(each)) for each in DOCUMENTS]))


def test_both_marginals_are_the_sums_over_documents_that_the_paper_writes(five):
    for said in [(END,), (1, END), (0, 2, END), (3, 3, 1, 0)]:
        by_document = [one_by_one(five, document, said) for document in DOCUMENTS]
        sequence = sum(prior * math.prod(each) for prior, each in zip(PRIOR, by_document, strict=True))
        token = math.prod(
            sum(prior * each[place] for prior, each in zip(PRIOR, by_document, strict=True))
            for place in range(len(said))
        )
        logs = after_each_document(five, said)
        assert math.exp(sequence_log_p(logs, WEIGHTS)) == pytest.approx(sequence, rel=1e-4)
        assert math.exp(token_log_p(logs, WEIGHTS)) == pytest.approx(token, rel=1e-4)
        assert len(said) == 1 or sequence != pytest.approx(token, rel=1e-3)


@pytest.mark.parametrize("marginal", [sequence_log_p, token_log_p])
def test_the_probabilities_of_all_answers_sum_to_one(five, marginal):
    told = [math.exp(marginal(after_each_document(five, said), WEIGHTS)) for said in all_answers()]
    assert sum(told) == pytest.approx(1, abs=1e-5)
    assert all(0 < each < 1 for each in told)


@pytest.mark.parametrize("marginal", [sequence_log_p, token_log_p])
def test_only_differences_of_weights_count_and_a_document_of_no_weight_is_not_there(five, marginal):
    logs = after_each_document(five, (0, 2, END))
    assert marginal(logs, [weight + 40 for weight in WEIGHTS]) == pytest.approx(marginal(logs, WEIGHTS))
    assert marginal(logs, [0.0, -math.inf, -math.inf]) == pytest.approx(float(logs[0].sum()))
    assert marginal(logs[:1], [7.0]) == pytest.approx(float(logs[0].sum()))


def test_each_step_of_rag_token_mixes_the_documents_probabilities(five):
    rows = torch.stack([five(torch.tensor([document])).logits[0, -1] for document in DOCUMENTS]).detach()
    mixed = Mixed(WEIGHTS)(torch.zeros(3, 1, dtype=torch.long), rows)
    expected = sum(prior * row.softmax(-1) for prior, row in zip(PRIOR, rows, strict=True))
    for row in mixed.exp():
        assert row.tolist() == pytest.approx(expected.tolist(), rel=1e-5)


def test_a_probability_too_small_for_a_float_is_no_infinity():
    logs = torch.full((3, 400), -50.0)
    assert sequence_log_p(logs, WEIGHTS) == pytest.approx(-20_000)
    assert token_log_p(logs, WEIGHTS) == pytest.approx(-20_000)


def test_without_contexts_the_answer_is_the_greedy_one(taught):
    for combine in ("concatenate", "sequence", "token"):
        said = [answer_from(*taught, [], [], question, combine, 12) for question in QUESTIONS]
        assert said == [answer(*taught, question, 12) for question in QUESTIONS]


@pytest.mark.parametrize("decode", [rag_sequence, rag_token])
def test_with_one_context_both_are_the_plain_model(taught, decode):
    for question in QUESTIONS:
        asked = f"{NOTES[0]} {question}"
        assert decode(*taught, [asked], [2.0], 12) == answer(*taught, asked, 12)


@pytest.mark.parametrize("combine", ["concatenate", "sequence", "token"])
def test_with_one_context_all_ways_to_combine_agree(taught, combine):
    for question in QUESTIONS[:6]:
        told = answer_from(*taught, NOTES[:1], [0.0], question, combine, 12)
        assert told == answer(*taught, f"{NOTES[0]} {question}", 12)


@pytest.mark.parametrize("decode", [rag_sequence, rag_token])
def test_the_same_context_twice_changes_nothing(taught, decode):
    for question in QUESTIONS[:6]:
        assert decode(*taught, [question] * 2, [0.0, -1.0], 12) == answer(*taught, question, 12)


@pytest.mark.parametrize("decode", [rag_sequence, rag_token])
def test_the_context_of_the_higher_weight_decides_where_contexts_disagree(taught, decode):
    """The model knows both answers by heart, whatever the other prompt would have it say."""
    norway, peru = ROWS[0], ROWS[1]
    prompts = [norway["prompt"], peru["prompt"]]
    assert decode(*taught, prompts, [0.0, -9.0], 12) == norway["target"]
    assert decode(*taught, prompts, [-9.0, 0.0], 12) == peru["target"]


def test_rag_sequence_answers_with_the_candidate_that_all_prompts_together_find_most_probable(taught):
    prompts, weights = [f"{NOTES[0]} Who leads Japan?", "Japan", "Chile"], [0.1, 0.2, 0.0]
    candidates = answers(*taught, prompts, 12)
    assert len(set(candidates)) > 1
    best = max(candidates, key=lambda each: sequence_log_p(answer_log_p(*taught, prompts, each), weights))
    assert rag_sequence(*taught, prompts, weights, 12) == best


def test_rag_token_takes_the_likeliest_token_of_the_mixture_at_every_step(taught):
    """Without a cache, a batch or padding, token by token."""
    model, tokenizer = taught
    prompts, weights = ["Chile", "Who leads Japan?", "Please tell me who leads Fiji"], [0.5, 0.4, 0.0]
    prior = torch.tensor(weights).softmax(0)
    ids = [[start_token(tokenizer), *tokenizer(PLAIN.prompt(each))["input_ids"]] for each in prompts]
    said = []
    for _ in range(12):
        rows = [model(torch.tensor([[*each, *said]])).logits[0, -1].softmax(-1) for each in ids]
        said.append(int(sum(p * row for p, row in zip(prior, rows, strict=True)).argmax()))
    expected = tokenizer.decode(said).split(tokenizer.eos_token)[0].split("(답변 종료)")[0].strip()
    assert rag_token(model, tokenizer, prompts, weights, 12) == expected


def test_a_given_answer_is_scored_with_its_end_marker(taught):
    model, tokenizer = taught
    logs = answer_log_p(model, tokenizer, ["Peru", "Who leads Peru?"], "Ben")
    assert logs.shape == (2, len(tokenizer(PLAIN.target("Ben"))["input_ids"]))
    alone = [answer_log_p(model, tokenizer, [each], "Ben")[0] for each in ("Peru", "Who leads Peru?")]
    assert torch.allclose(logs, torch.stack(alone), atol=1e-5)


def test_the_best_context_stands_next_to_the_message_and_a_long_one_is_cut_before_the_message_is(taught):
    model, tokenizer = taught
    question = ROWS[0]["prompt"]
    told = answer_from(*taught, NOTES, [0.0, 1.0], question, "concatenate", 12)
    assert told == answer(*taught, f"{NOTES[0]} {NOTES[1]} {question}", 12)
    long = "Everyone agrees on that. " * 40
    assert len(tokenizer(long)["input_ids"]) > limit_of(model)
    for combine in ("concatenate", "sequence", "token"):
        seen = prompts_seen(
            model, lambda how=combine: answer_from(*taught, [long, NOTES[0]], [1.0, 0.0], question, how, 8)
        )
        assert seen
        assert all(len(ids) <= limit_of(model) for ids in seen)
        assert all(question in tokenizer.decode(ids) for ids in seen)


def prompts_seen(model, function):
    """The first tokens that the model is given by the function, row by row."""
    seen = []
    hook = model.get_input_embeddings().register_forward_hook(
        lambda module, arguments, output: seen.extend(arguments[0].tolist())
    )
    try:
        function()
    finally:
        hook.remove()
    return [ids for ids in seen if len(ids) > 1]


def test_a_model_is_surer_of_what_it_has_learnt_than_of_what_it_has_not(taught):
    model, tokenizer = taught
    known = [row["prompt"] for row in ROWS]
    unknown = ["Who leads Kenya?", "What is the weather like?", "Ada"]
    told = [confidence(*taught, message) for message in (*known, *unknown)]
    assert min(told[:6]) > max(told[6:])
    assert max(told) <= 0


def test_confidences_of_a_batch_are_those_of_each_alone(taught):
    said = answers(*taught, QUESTIONS)
    for size in (1, 10_000):
        told = confidences(*taught, QUESTIONS, said, size)
        assert told == pytest.approx([confidence(*taught, each) for each in QUESTIONS], abs=1e-5)
    assert confidences(*taught, [], []) == []


def test_a_confidence_is_the_mean_log_p_of_the_answers_tokens(taught):
    model, tokenizer = taught
    logs = answer_log_p(model, tokenizer, ["Peru"], answer(*taught, "Peru"))
    assert confidence(*taught, "Peru") == pytest.approx(float(logs.mean()), abs=1e-6)
