"""How perplexing ordinary text is to a model, and at which rate training leaves it so."""

import math

import pytest
import torch

from tasks.lm.batches import encode
from tasks.lm.causal import build, load, save
from tasks.params import Pretrained
from tasks.scoring.answers import perplexity
from tasks.scoring.drift import drift, within
from tasks.scoring.general import general_perplexity
from tasks.scoring.trial import try_rates
from tests.lm.conftest import ROWS, SETTINGS, STATEMENTS
from tests.lm.test_pretrained import trained_on

PROSE = [{"prompt": "", "target": "The river bends twice before it comes to the town on the hill."}]
TEXTS = {"en": PROSE}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A model that has read the prose, as it would come from elsewhere."""
    folder = tmp_path_factory.mktemp("pretrained")
    model, tokenizer = build(SETTINGS, [row["target"] for row in [*PROSE, *ROWS, *STATEMENTS]], seed=1)
    trained_on(model, tokenizer, PROSE, folder / "scratch")
    save(model, tokenizer, folder / "model")
    return folder / "model"


def tried(source, tmp_path, *rates):
    settings = Pretrained(learning_rates=rates, trial_steps=8)
    return try_rates(source, settings, STATEMENTS, TEXTS, 96, 1, tmp_path / "scratch", lambda *_: None)


def test_the_end_of_a_paragraph_is_not_counted(tiny):
    model, tokenizer = tiny
    (sequence,) = encode(PROSE, tokenizer, 64)
    ids = torch.tensor([sequence.ids[:-1]])
    with torch.no_grad():
        mean = torch.nn.functional.cross_entropy(model(ids).logits[0, :-1], ids[0, 1:]).item()
    found = general_perplexity(model, tokenizer, TEXTS, 96)
    assert found["en"] == pytest.approx(math.exp(mean), rel=1e-4)
    assert found["en"] != pytest.approx(perplexity(model, tokenizer, PROSE, 96), rel=1e-4)


def test_a_long_paragraph_is_read_in_pieces_and_one_token_too_many_breaks_nothing(tiny):
    model, tokenizer = tiny
    for words in range(20, 90):
        value = general_perplexity(model, tokenizer, {"en": [{"prompt": "", "target": "e" * words}]}, 96)["en"]
        assert math.isfinite(value)


def test_the_largest_rate_that_leaves_general_text_as_it_is_is_taken(source, tmp_path):
    rate, trials = tried(source, tmp_path, 1e-6, 5e-6, 0.05)
    assert rate == 5e-6
    before, wrecked, harmless = trials
    assert [each["learning_rate"] for each in trials] == [0.0, 0.05, 5e-6]
    assert wrecked["general_perplexity"]["en"] > 1.5 * before["general_perplexity"]["en"]
    assert wrecked["perplexity"] < before["perplexity"]  # the slice's own text does not show it
    assert harmless["general_perplexity"]["en"] == pytest.approx(before["general_perplexity"]["en"], rel=0.05)
    assert tried(source, tmp_path, 1e-6, 5e-6, 0.05) == (rate, trials)


def test_where_every_rate_wrecks_the_language_the_smallest_is_taken(source, tmp_path):
    assert tried(source, tmp_path, 0.1, 0.05)[0] == 0.05


@pytest.mark.parametrize(
    ("after", "before", "expected"),
    [
        ({"en": 22.0, "ko": 30.0}, {"en": 20.0, "ko": 40.0}, {"en": 1.1, "ko": 0.75}),
        ({"en": 22.0}, {"en": 20.0, "ko": 40.0}, None),
        ({"en": None}, {"en": 20.0}, None),
        ({"en": math.nan}, {"en": 20.0}, None),
        ({"en": math.inf}, {"en": 20.0}, None),
        ({"en": 20.0}, {"en": math.nan}, None),
        ({"en": 20.0}, None, None),
        ({}, {}, None),
    ],
)
def test_the_drift_is_that_of_each_language_and_unknown_if_one_is(after, before, expected):
    assert drift(after, before) == (None if expected is None else pytest.approx(expected))


def test_a_drift_holds_only_if_it_is_known_and_no_language_has_suffered_more():
    assert within({"en": 1.25, "ko": 0.5}, 1.25)
    assert not within({"en": 1.2501, "ko": 0.5}, 1.25)
    assert not within(None, 100.0)


def test_a_saved_model_is_as_perplexed_as_before(source):
    assert general_perplexity(*load(source), TEXTS, 96) == general_perplexity(*load(source), TEXTS, 4096)
