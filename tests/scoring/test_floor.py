import math

import pytest

from tasks.params import Floor
from tasks.scoring.floor import below

ALL = Floor(new=0.8, retained=0.7, valid=0.75)


def scores(own=0.9, new=0.9, retained=0.9, valid=0.9, older=10):
    return {
        "slice": "2022",
        "model": {"accuracy": {"2022": own, "2021": 0.5}},
        "rows": {"2022": 10, "2021": older},
        "categories": {"new": new, "retained": retained},
        "valid": {"accuracy": valid, "paraphrase_accuracy": 0.1},
    }


def test_a_slice_above_every_floor_goes_on():
    assert below(ALL, scores()) is None
    assert below(ALL, scores(new=0.8, retained=0.7, valid=0.75)) is None  # exactly the floor


@pytest.mark.parametrize("measure", ["new", "retained", "valid"])
@pytest.mark.parametrize("value", [0.6999, None, math.nan, math.inf])
def test_less_than_the_floor_or_no_number_stops(measure, value):
    told = below(ALL, scores(**{measure: value, **({"own": value} if measure == "new" else {})}))
    shown = "unknown" if value is None else f"{value:.3f}"
    assert told.startswith(f"The timeline stops after slice 2022: {measure} is {shown}, below its floor of 0.")
    assert told.endswith("then `perennial run`.")


def test_only_the_floors_that_are_set_count():
    bad = scores(own=0.0, new=0.0, retained=0.0, valid=0.0)
    assert below(Floor(), bad) is None
    assert "valid is 0.000" in below(Floor(valid=0.1), bad)
    assert "new" not in below(Floor(retained=0.1), bad)
    assert below(ALL, bad).count("below its floor") == 3


def test_a_slice_that_only_updates_is_judged_on_its_own_rows():
    assert below(Floor(new=0.8), scores(new=None, own=0.8)) is None
    assert "new is 0.790" in below(Floor(new=0.8), scores(new=None, own=0.79))


def test_where_nothing_older_is_true_there_is_nothing_to_retain():
    assert below(Floor(retained=0.7), scores(retained=None, older=0)) is None
    assert "retained is unknown" in below(Floor(retained=0.7), scores(retained=None))


def test_what_a_slice_did_not_bring_is_not_measured():
    none = scores(own=None, new=None) | {"rows": {"2022": 0, "2021": 10}}
    assert below(ALL, none) is None
    assert "retained is 0.100" in below(ALL, none | {"categories": {"new": None, "retained": 0.1}})
    assert below(ALL, scores(own=0.0, new=0.0) | {"train_rows": 0}) is None
    nothing = {"rows": {"2022": 0, "2021": 0}, "categories": {"new": None, "retained": None}}
    assert below(ALL, none | nothing | {"valid": {"accuracy": None, "paraphrase_accuracy": None}}) is None


@pytest.mark.parametrize(
    ("after", "told"),
    [
        (30.0, None),
        (30.2, "is en 1.510, where at most 1.500 is allowed"),
        (math.nan, "is unknown"),
        (None, "is unknown"),
    ],
)
def test_general_text_that_became_too_perplexing_stops(after, told):
    measured = scores() | {"general_perplexity": {"model": {"en": after}, "base": {"en": 20.0}}}
    found = below(Floor(general=1.5), measured)
    assert found is None if told is None else told in found


def test_a_limit_on_general_text_that_was_not_measured_stops():
    assert "general text's perplexity over the base's is unknown" in below(Floor(general=1.5), scores())
