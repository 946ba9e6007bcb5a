import pytest

from tasks.scoring.choice import choose, harm_of
from tasks.scoring.proportions import clopper_pearson


def trial(model, right, parameters=100, questions=60, after=10.0):
    return {
        "model": model, "right": right, "questions": questions, "parameters": parameters,
        "perplexity": {"en": 10.0, "ko": 20.0}, "perplexity_after": {"en": after, "ko": 20.0},
    }  # fmt: skip


def test_the_best_is_taken():
    chosen, why = choose([trial("a", 20), trial("b", 50), trial("c", 30)])
    assert (chosen, why) == ("b", "b: 50 of 60 right, the most.")


def test_of_those_that_questions_can_not_tell_apart_the_smallest_is_taken():
    bound = clopper_pearson(50, 60, 0.95)[0]
    equal = next(right for right in range(51) if right / 60 >= bound)
    trials = [trial("large", 50, 1000), trial("small", equal, 100), trial("smallest", equal - 1, 10)]
    assert choose(trials) == (
        "small", f"small: {equal} of 60 right, which so few questions can't tell from the 50 of large, with 10% of its "
        "parameters."
    )  # fmt: skip
    chosen, why = choose([trial("large", equal, 1000), trial("small", 50, 100)])
    assert chosen == "small" and why.endswith("the most, and the smallest of those that may be as good.")


def test_one_that_unlearns_ordinary_text_is_left_out_and_named():
    harmed = trial("a", 60, after=21.0)
    assert harm_of(harmed) == pytest.approx(2.1)
    chosen, why = choose([harmed, trial("b", 10)])
    assert chosen == "b" and why.endswith(
        "Left out, as ordinary text is more than twice as perplexing now, or its perplexity unknown: a."
    )
    assert harm_of(trial("a", 1, after=float("nan"))) == float("inf")


@pytest.mark.parametrize(
    ("trials", "answered", "harmed"),
    [
        ([trial("a", 0)], False, False),
        ([trial("a", 60, after=99.0), trial("b", 58, after=99.0)], True, True),
        ([trial("a", 0), trial("b", 9, after=99.0)], True, True),
    ],
)
def test_where_none_will_do_none_is_recommended(trials, answered, harmed):
    chosen, why = choose(trials)
    assert chosen is None and why.startswith("None of them is recommended.")
    assert ("None answered a question rightly." in why) == (not answered) and ("Left out" in why) == harmed


def test_one_alone_is_said_to_be_alone():
    assert choose([trial("a", 6)])[1] == "a: 6 of 60 right, and there is no other to compare it with."
