import math

import pytest
import torch

from tasks.corpus.slices import Examples
from tasks.lm.batches import Mixture, Part, encode
from tasks.lm.causal import build
from tasks.lm.generate import answer
from tasks.lm.training import Schedule, train
from tasks.scoring.answers import exact_matches, perplexity
from tasks.scoring.knowledge import Knowledge, categories, samples_of, valid_accuracy
from tests.lm.conftest import ROWS, SETTINGS, STATEMENTS

KNOWN, UNKNOWN = ROWS[:4], [{**row, "target": "Nobody at all"} for row in ROWS[:4]]


@pytest.fixture(scope="module")
def taught(tmp_path_factory):
    """A tiny model that has learnt four answers by heart."""
    model, tokenizer = build(SETTINGS, [f"{row['prompt']} {row['target']}" for row in ROWS], seed=1)
    data = Mixture([Part(encode(KNOWN, tokenizer, 64), 1.0)], 96, 120, 3, model.device)
    train(model, data, Schedule(120, 1e-2, 0.1), scratch=tmp_path_factory.mktemp("s"), log=lambda *_: None, seed=0)
    return model, tokenizer


def test_an_exact_match_is_what_greedy_decoding_answers(taught):
    model, tokenizer = taught
    rows = [*KNOWN, *UNKNOWN]
    right = exact_matches(model, tokenizer, rows, batch_tokens=64)
    assert right == [answer(model, tokenizer, row["prompt"], 16) == row["target"] for row in rows]
    assert right == [True] * 4 + [False] * 4


def test_half_an_answer_is_no_match(taught):
    model, tokenizer = taught
    half = [{**row, "target": row["target"][:-1]} for row in KNOWN]
    assert exact_matches(model, tokenizer, half, 64) == [False] * 4


def test_the_batch_size_changes_no_verdict_and_hardly_a_perplexity(taught):
    model, tokenizer = taught
    rows = [*KNOWN, *UNKNOWN]
    assert exact_matches(model, tokenizer, rows, 1) == exact_matches(model, tokenizer, rows, 10_000)
    one, all_at_once = (perplexity(model, tokenizer, STATEMENTS, size) for size in (1, 10_000))
    assert one == pytest.approx(all_at_once, rel=1e-5)


def test_perplexity_is_exp_of_the_mean_negative_log_likelihood(taught):
    model, tokenizer = taught
    losses = []
    for sequence in encode(STATEMENTS, tokenizer, 64):
        for place in range(sequence.start, len(sequence.ids)):
            logits = model(torch.tensor([sequence.ids[:place]])).logits[0, -1]
            losses.append(-logits.log_softmax(-1)[sequence.ids[place]].item())
    assert perplexity(model, tokenizer, STATEMENTS, 128) == pytest.approx(math.exp(sum(losses) / len(losses)), rel=1e-4)


def test_without_rows_there_is_no_perplexity_and_no_accuracy(taught):
    assert perplexity(*taught, [], 64) is None
    known = Knowledge()
    known.add("2020", "seen", [], [])
    assert known.scores()["accuracy"] == {"2020": None}


def knowledge():
    old = [{"id": "a/1", "set": "seen", "fact": "a/1"}, {"id": "a/2", "set": "seen", "fact": "a/2"}]
    new = [{"id": "b/1", "set": "seen", "fact": "b/1"}, {"id": "b/2", "set": "seen", "fact": "b/2"}]
    asked = [{**row, "set": "paraphrase", "id": row["id"] + "p"} for row in new]
    known = Knowledge()
    known.add("a", "seen", old, [True, False])
    known.add("b", "seen", new, [True, True])
    known.add("b", "paraphrase", asked, [True, False])
    known.add("b", "stale", [asked[1]], [True])
    current = Examples(
        name="b",
        test=[*new, *asked],
        facts=[{"id": "b/1", "category": "new"}, {"id": "b/2", "category": "updated"}],
    )
    return known, current


def test_categories_are_counted_by_hand():
    assert categories(*knowledge()) == {"new": 1.0, "updated": 0.5, "retained": 0.5, "stale": 1.0}


def test_accuracy_over_all_that_is_true_counts_each_row_once():
    assert valid_accuracy(knowledge()[0]) == {"accuracy": 0.75, "paraphrase_accuracy": 0.5}


def test_samples_come_from_every_slice_newest_first():
    known = Knowledge()
    for name in ("a", "b"):
        rows = [{"id": f"{name}/{n}", "prompt": f"{name}{n}"} for n in range(50)]
        known.add(name, "paraphrase", rows, [True] * 50)
    assert [row["prompt"][0] for row in samples_of(known, 6)] == ["b"] * 3 + ["a"] * 3
