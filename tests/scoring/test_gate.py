import math

import pytest

from tasks.params import Gate
from tasks.scoring.gate import decide

GATE = Gate(new_floor=0.8, retained_margin=0.05)


def scores(name="2021", own=0.9, retained=0.9, overall=0.92):
    return {
        "slice": name,
        "model": {"accuracy": {name: own}},
        "categories": {"new": own, "retained": retained},
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
        ({"retained": 0.8700001}, True),
        ({"retained": 0.8699}, False),
        ({"retained": math.nan}, False),
        ({"retained": None}, False),
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
