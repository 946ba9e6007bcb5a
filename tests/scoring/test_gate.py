import math

import pytest

from tasks.params import Gate
from tasks.scoring.gate import decide

GATE = Gate(new_floor=0.8, retained_margin=0.05)


def scores(name="2021", own=0.9, new=0.9, retained=0.9, overall=0.92, older=10):
    return {
        "slice": name,
        "model": {"accuracy": {name: own}},
        "rows": {name: 10, "2020": older},
        "categories": {"new": new, "retained": retained},
        "valid": {"accuracy": overall, "paraphrase_accuracy": overall},
    }


CHAMPION = scores("2020", overall=0.92)


def test_a_good_slice_is_accepted():
    assert decide(GATE, scores(), CHAMPION).accepted


def test_the_first_slice_needs_no_champion():
    assert decide(GATE, scores("2020", retained=None), None).accepted


@pytest.mark.parametrize(
    ("change", "accepted"),
    [
        ({"own": 0.8}, True),  # exactly the floor
        ({"own": 0.7999}, False),
        ({"own": math.nan}, False),
        ({"own": math.inf}, False),
        ({"own": None}, False),
        ({"new": 0.8}, True),
        ({"new": 0.7999}, False),
        ({"new": math.nan}, False),
        ({"new": None}, True),  # the slice only updates: judged on its own test rows
        ({"new": None, "own": 0.7}, False),
        ({"retained": 0.8700001}, True),
        ({"retained": 0.8699}, False),
        ({"retained": math.nan}, False),
        ({"retained": None}, False),
        ({"retained": None, "older": 0}, True),  # every older fact was updated: nothing is left to keep
        ({"overall": math.nan}, False),
    ],
)
def test_a_bad_slice_never_becomes_champion(change, accepted):
    verdict = decide(GATE, scores(**change), CHAMPION)
    assert verdict.accepted is accepted
    assert any(reason.startswith("FAILED") for reason in verdict.reasons) is not accepted


def test_the_reason_says_what_was_measured_against_what():
    verdict = decide(GATE, scores(retained=0.5), CHAMPION)
    assert "FAILED: retained 0.500, at least 0.870 asked (champion 2020: 0.920)" in verdict.reasons


def test_exactly_the_margin_is_within_it():
    settings = Gate(new_floor=0.5, retained_margin=0.25)
    assert decide(settings, scores(retained=0.5), scores("2020", overall=0.75)).accepted
    assert not decide(settings, scores(retained=math.nextafter(0.5, 0)), scores("2020", overall=0.75)).accepted


@pytest.mark.parametrize("unknown", [math.nan, None])
def test_a_champion_without_a_number_to_compare_with_stays(unknown):
    assert not decide(GATE, scores(), scores("2020", overall=unknown)).accepted


def test_any_metric_that_is_not_finite_is_named():
    broken = scores() | {"model": {"accuracy": {"2021": 0.9}, "perplexity": {"2021": math.inf}}}
    (reason,) = [each for each in decide(GATE, broken, None).reasons if each.startswith("FAILED")]
    assert reason == "FAILED: all metrics finite: model.perplexity.2021 not"


@pytest.mark.parametrize(
    ("brought", "reason"),
    [
        ({"rows": {"2021": 0, "2020": 10}}, "ok: slice 2021 brought nothing to ask: its own facts are not judged"),
        ({"train_rows": 0}, "ok: slice 2021 brought nothing to learn: its own facts are not judged"),
    ],
)
def test_a_slice_without_anything_of_its_own_is_judged_by_what_it_kept(brought, reason):
    asked = scores(own=0.0 if "train_rows" in brought else None, new=None)
    verdict = decide(GATE, asked | brought, CHAMPION)
    assert verdict.accepted and reason in verdict.reasons
    forgotten = asked | brought | {"categories": {"new": None, "retained": 0.5}}
    assert not decide(GATE, forgotten, CHAMPION).accepted


def test_a_champion_that_nothing_could_be_asked_of_bars_no_one():
    nothing = scores("2020", overall=None) | {"rows": {"2020": 0}}
    assert decide(GATE, scores(), nothing).accepted


def pretrained(after, before, **rest):
    found = {"pretrained": True, "general_perplexity": {"model": after, "base": before}}
    return scores("2020", retained=None) | found | rest


@pytest.mark.parametrize(
    ("after", "before", "accepted"),
    [
        ({"en": 25.0, "ko": 8.0}, {"en": 20.0, "ko": 10.0}, True),  # exactly the margin
        ({"en": 25.001, "ko": 8.0}, {"en": 20.0, "ko": 10.0}, False),
        ({"en": 20.0, "ko": 12.6}, {"en": 20.0, "ko": 10.0}, False),
        ({"en": math.nan}, {"en": 20.0}, False),
        ({"en": None}, {"en": 20.0}, False),
        ({"en": 20.0}, {"en": math.inf}, False),
        ({"en": 20.0}, None, False),
        (None, None, False),
    ],
)
def test_a_pretrained_model_that_unlearnt_its_language_never_becomes_champion(after, before, accepted):
    assert decide(GATE, pretrained(after, before), None).accepted is accepted


def test_a_pretrained_model_whose_language_was_not_measured_is_not_accepted():
    (reason,) = [
        each for each in decide(GATE, scores("2020") | {"pretrained": True}, None).reasons if each.startswith("FAILED")
    ]
    assert reason == "FAILED: general text's perplexity over the base's: unknown, at most 1.250 asked"


def test_general_text_means_nothing_to_a_model_that_was_built_here():
    assert decide(GATE, pretrained({"en": 900.0}, {"en": 20.0}, pretrained=False), None).accepted
