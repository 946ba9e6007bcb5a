"""The gate: what it accepts, and every way through it that was found open."""

import math
from random import Random

import pytest

from tasks.params import Gate
from tasks.scoring.gate import Evidence, decide
from tests.scoring.evidence import evidence, rule_of, scores

GATE = Gate(new_floor=0.8, retained_margin=0.05)
WORST = "change in retained facts, worst slice"
CHAMPION = evidence("2020", right={"2020": 0.98})


def judged(candidate, champion=CHAMPION, former=(), **settings):
    return decide(GATE.model_copy(update=settings), candidate, champion, former)


def test_a_good_slice_is_accepted_and_every_rule_says_why():
    verdict = judged(evidence("2021"), former=[CHAMPION])
    assert verdict.decision == "accepted", verdict.told("FAILED", "undecided")
    assert {rule.decision for rule in verdict.rules} == {"ok"}
    assert all(rule.told().startswith("ok: ") for rule in verdict.rules)


def test_the_first_slice_needs_no_champion():
    assert judged(evidence("2020"), champion=None).decision == "accepted"


# Each of these was accepted once.
ATTACKS = {
    "every update wrong": ({"updated": 0.0}, "updated facts"),
    "the old answer to updated facts": ({"updated": 0.8, "stale": 0.2}, "stale answers"),
    "reworded 0.6": ({"paraphrase": 0.6}, "own facts, reworded"),
    "a retriever that finds nothing right": ({"top1": 0.1}, "retriever, best memory right"),
    "a retriever that always finds something": ({"false": 0.9}, "retriever, false retrievals"),
    "chat unlearnt": ({"chat": 0.1}, "chat answers"),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_what_was_let_through_is_refused(attack):
    change, name = ATTACKS[attack]
    verdict = judged(evidence("2021", **change))
    assert verdict.decision == "refused"
    assert [rule.name for rule in verdict.rules if rule.decision == "FAILED"] == [name]


def test_older_facts_that_are_lost_in_other_wordings_alone_are_seen():
    candidate = evidence("2021")
    reworded = [row for row in candidate.outcomes if row.startswith("2020/") and "/paraphrase" in row]
    lost = dict.fromkeys(reworded[: len(reworded) // 14], False)
    verdict = judged(Evidence(candidate.scores, candidate.outcomes | lost))
    assert verdict.decision == "refused"
    assert [rule.name for rule in verdict.rules if rule.decision != "ok"] == ["change in retained facts, reworded"]


@pytest.mark.parametrize(("outcomes", "loss"), [(True, 0.025), (False, 0.0499)])
def test_sixteen_small_losses_are_stopped(outcomes, loss):
    """0.98 to 0.405 in steps of 0.0499, each within the margin; with rows to compare, steps that are shown to be so."""
    champions = [evidence("2020", outcomes=outcomes)]
    for number in range(1, 17):
        candidate = evidence(f"later{number}", right={"2020": 0.98 - number * loss}, outcomes=outcomes)
        assert judged(candidate, champions[-1]).decision == "accepted"  # next to the last champion alone
        verdict = judged(candidate, champions[-1], champions)
        if verdict.decision != "accepted":
            break
        champions.append(candidate)
    assert 0.98 - number * loss >= 0.98 - GATE.total_margin - loss
    names = {rule.name for rule in verdict.rules if rule.decision != "ok"}
    assert names and all(name.endswith("since the best champion") for name in names)
    worse = evidence("last", right={"2020": 0.98 - GATE.total_margin - 0.01}, outcomes=outcomes)
    assert judged(worse, former=champions[:1], retained_margin=1.0).decision == "refused"


def test_steps_just_within_the_margin_are_not_shown_to_be_so():
    assert judged(evidence("2021", right={"2020": 0.98 - 0.0499})).decision == "undecided"


@pytest.mark.parametrize(
    ("facts", "share", "decision"),
    [(400, 0.95, "accepted"), (60, 0.95, "undecided"), (60, 0.9, "refused"), (400, 0.94, "undecided")],
)
def test_that_less_than_the_margin_was_lost_must_be_shown(facts, share, decision):
    verdict = judged(evidence("2021", right={"2020": share}, facts=facts), evidence("2020", facts=facts))
    rule = rule_of(verdict, "change in retained facts")
    assert verdict.decision == decision
    assert (rule.interval[0] >= -0.05) == (decision == "accepted")
    assert (rule.value < -0.05) == (decision == "refused")


def test_of_too_few_facts_in_common_nothing_is_decided():
    few, champion = evidence("2021", facts=19), evidence("2020", facts=19)
    verdict = judged(few, champion)
    assert verdict.decision == "undecided"
    told = rule_of(verdict, "change in retained facts").told()
    assert told == (
        "undecided: change in retained facts 0.000, at least -0.050 asked (since 2020, 19 facts in common, 20 asked)"
    )
    assert judged(few, champion, retained_facts=19).decision == "accepted"
    strangers = Evidence(champion.scores, {f"9{row}": right for row, right in champion.outcomes.items()})
    verdict = judged(few, strangers, retained_facts=1)
    assert rule_of(verdict, "change in retained facts").value is None
    assert verdict.decision == "undecided"


def test_models_that_were_champion_long_ago_say_nothing_once_their_facts_are_out_of_date():
    old = evidence("2001", facts=19)
    verdict = judged(evidence("2021"), former=[old, CHAMPION])
    assert verdict.decision == "accepted"
    assert "since 2020" in rule_of(verdict, "retained facts, since the best champion").note
    told = rule_of(judged(evidence("2021"), former=[old]), "retained facts, since the best champion").told()
    assert told == "ok: retained facts, since the best champion: no earlier champion has enough to compare with"


def test_a_champion_of_the_same_slice_is_compared_on_all_that_both_were_asked():
    worse = evidence("2020", right={"2020": 0.85})
    verdict = judged(worse)
    assert verdict.decision == "refused"
    assert rule_of(verdict, "change in retained facts").decision == "FAILED"


def test_a_slice_that_overrides_much_of_what_was_true_needs_a_person():
    assert judged(evidence("2021", overridden=(85, 340))).decision == "accepted"
    verdict = judged(evidence("2021", overridden=(86, 340)))
    assert verdict.decision == "undecided"
    assert verdict.told("undecided") == (
        "undecided: older facts overridden 0.253, at most 0.250 allowed (86 of 340: a person must agree)"
    )
    assert judged(evidence("2021", overridden=(86, 340)), override_cap=0.3).decision == "accepted"


def test_refused_outweighs_undecided():
    verdict = judged(evidence("2021", overridden=(300, 340), updated=0.0))
    assert verdict.decision == "refused"


# Small samples: what is decided must be shown by what was asked.


def refusals(truth, asked, times=400):
    """How often a slice of which every answer is right with this chance is refused."""
    chance, refused = Random(f"{truth} {asked}"), 0
    for _ in range(times):
        right = sum(chance.random() < truth for _ in range(asked)) / asked
        candidate = evidence("2020", own=right, new=right, paraphrase=right, own_facts=asked)
        refused += judged(candidate, champion=None).decision != "accepted"
    return refused / times


@pytest.mark.parametrize("asked", range(5, 21))
def test_what_is_above_the_floor_is_not_refused_for_being_a_small_sample(asked):
    assert refusals(0.85, asked) <= 0.05


def test_what_is_far_below_is_refused_by_twenty_questions():
    assert refusals(0.4, 20) >= 0.9
    assert refusals(0.8, 20) <= 0.05  # exactly the floor


@pytest.mark.parametrize(
    ("right", "decision"), [(1.0, "accepted"), (0.8, "accepted"), (0.79, "undecided"), (0.0, "undecided")]
)
def test_one_fact_can_show_nothing_so_a_wrong_one_is_shown_to_a_person(right, decision):
    lone = evidence("2020", own=right, new=right, paraphrase=right, own_facts=1)
    assert judged(lone, champion=None).decision == decision


def test_two_facts_that_were_not_learnt_are_refused():
    assert judged(evidence("2020", own=0.0, new=0.0, paraphrase=0.0, own_facts=2), champion=None).decision == "refused"


# What is missing or no number fulfils no rule.


@pytest.mark.parametrize("broken", [math.nan, math.inf, -math.inf, 1.5, -0.5])
@pytest.mark.parametrize("measure", ["new", "own", "paraphrase", "updated", "stale", "chat", "top1", "false"])
def test_a_number_that_is_none_never_becomes_champion(measure, broken):
    assert judged(evidence("2021", **{measure: broken})).decision == "refused"


@pytest.mark.parametrize("measure", ["own", "paraphrase", "stale", "chat", "top1"])
def test_a_number_that_is_missing_never_becomes_champion(measure):
    assert judged(evidence("2021", **{measure: None})).decision == "refused"


def test_any_metric_that_is_not_finite_is_named():
    broken = evidence("2020")
    broken.scores["model"]["perplexity"] = {"2020": math.inf}
    verdict = judged(broken, champion=None)
    assert verdict.told("FAILED") == (
        "FAILED: metrics that are not finite 1, at most 0 allowed (model.perplexity.2020)"
    )


@pytest.mark.parametrize("block", ["facts", "overridden", "canary", "retriever"])
def test_a_block_that_is_missing_is_no_traceback(block):
    candidate = evidence("2021")
    del candidate.scores[block]
    verdict = judged(candidate)
    # without counts shares alone are compared; a canary may be missing; the champion had a retriever
    assert verdict.decision == ("accepted" if block in ("facts", "canary") else "refused")


def test_without_outcomes_of_its_own_a_slice_is_not_accepted():
    assert judged(evidence("2021", outcomes=False)).decision == "undecided"


def test_a_slice_without_updates_or_memories_is_not_asked_for_them():
    candidate = evidence("2021", updated=None, stale=None, overridden=(0, 340), retriever=False, chat=None, chat_rows=0)
    champion = evidence("2020", retriever=False)
    verdict = judged(candidate, champion)
    assert verdict.decision == "accepted"
    assert not {"updated facts", "stale answers"} & {rule.name for rule in verdict.rules}
    assert "ok: retriever: the slices have no memories to ask for" in verdict.told()
    assert "ok: chat answers: no slice has brought chat" in verdict.told()


def test_a_retriever_is_compared_with_the_champions_own():
    verdict = judged(evidence("2021", top1=0.7), evidence("2020", top1=0.95))
    assert rule_of(verdict, "retriever, best memory right").bound == pytest.approx(0.85)
    assert verdict.decision == "refused"
    assert judged(evidence("2021", top1=0.7), evidence("2020", top1=0.75)).decision == "accepted"
    assert judged(evidence("2021", top1=0.3), evidence("2020", top1=0.35)).decision == "refused"  # the floor


# A champion of an older version, without outcomes, is compared by accuracies.


def test_a_champion_without_outcomes_is_compared_by_accuracies_and_that_is_said():
    champion = Evidence(scores("2020", overall=0.92))
    for retained, decision in ((0.8700001, "accepted"), (0.8699, "refused"), (None, "refused")):
        candidate = evidence("2021")
        candidate.scores["categories"]["retained"] = retained
        assert judged(candidate, champion).decision == decision
    assert rule_of(judged(candidate, champion), "retained").told() == (
        "FAILED: retained unknown, at least 0.870 asked "
        "(champion 2020: 0.920; it has no outcomes: accuracies alone are compared)"
    )


@pytest.mark.parametrize("unknown", [math.nan, None])
def test_a_champion_without_a_number_to_compare_with_stays(unknown):
    verdict = judged(evidence("2021"), Evidence(scores("2020", overall=unknown)))
    assert verdict.decision == "refused"
    assert "at least unknown asked" in rule_of(verdict, "retained").told()


# A slice may bring less.


@pytest.mark.parametrize(("brought", "missing"), [({"rows": 0}, "ask"), ({"train_rows": 0}, "learn")])
def test_a_slice_without_anything_of_its_own_is_judged_by_what_it_kept(brought, missing):
    nothing = {"own": 0.0 if missing == "learn" else None, "new": None, "updated": None, "paraphrase": None}
    verdict = judged(evidence("2021", **nothing, **brought))
    assert verdict.decision == "accepted"
    assert f"ok: own facts: slice 2021 brought nothing to {missing}, so they are not judged" in verdict.told()
    assert judged(evidence("2021", right={"2020": 0.5}, **nothing, **brought)).decision == "refused"


def test_where_no_older_fact_is_still_true_there_is_nothing_to_keep():
    candidate = evidence("2021", older=0)
    verdict = judged(candidate)
    assert "ok: retained facts: no older fact is still true" in verdict.told()


def test_a_champion_that_nothing_could_be_asked_of_bars_no_one():
    champion = evidence("2020", rows=0)
    assert "ok: retained facts: the champion's slices had nothing to ask" in judged(evidence("2021"), champion).told()


# General text, if the base was pretrained elsewhere.


def pretrained(after, before, is_so=True):
    candidate = evidence("2020")
    candidate.scores.update(pretrained=is_so, general_perplexity={"model": after, "base": before})
    return judged(candidate, champion=None)


@pytest.mark.parametrize(
    ("after", "before", "decision"),
    [
        ({"en": 25.0, "ko": 8.0}, {"en": 20.0, "ko": 10.0}, "accepted"),  # exactly the margin
        ({"en": 25.001, "ko": 8.0}, {"en": 20.0, "ko": 10.0}, "refused"),
        ({"en": 20.0, "ko": 12.6}, {"en": 20.0, "ko": 10.0}, "refused"),
        ({"en": math.nan}, {"en": 20.0}, "refused"),
        ({"en": None}, {"en": 20.0}, "refused"),
        ({"en": 20.0}, {"en": math.inf}, "refused"),
        ({"en": 20.0}, None, "refused"),
        (None, None, "refused"),
    ],
)
def test_a_pretrained_model_that_unlearnt_its_language_never_becomes_champion(after, before, decision):
    assert pretrained(after, before).decision == decision


def test_a_pretrained_model_whose_language_was_not_measured_is_not_accepted():
    assert pretrained(None, None).told("FAILED") == (
        "FAILED: general text's perplexity over the base's unknown, at most 1.250 allowed (unknown)"
    )


def test_general_text_means_nothing_to_a_model_that_was_built_here():
    assert pretrained({"en": 900.0}, {"en": 20.0}, is_so=False).decision == "accepted"


def of_slices(**facts):
    """Evidence of 20 slices of 40 facts, all known; of those named so many, of which so many are known."""
    known = {f"s{number}": (40, 40) for number in range(20)} | facts
    rows = {
        f"{name}/{fact}/en/{kind}#1": fact < right
        for name, (asked, right) in known.items()
        for fact in range(asked)
        for kind in ("seen", "paraphrase")
    }
    return Evidence(scores("2022"), rows)


@pytest.mark.parametrize(
    ("asked", "right", "decision"),
    [(8, 8, "ok"), (8, 7, "ok"), (8, 5, "ok"), (8, 2, "FAILED"), (8, 0, "FAILED"),  # few lose a quarter by chance
     (20, 17, "ok"), (20, 15, "undecided"), (20, 8, "FAILED")],
)  # fmt: skip
def test_no_slice_pays_for_the_others(asked, right, decision):
    before = of_slices(small=(asked, asked))
    verdict = judged(of_slices(small=(asked, right)), before)
    found = rule_of(verdict, WORST)
    assert (found.decision, found.value) == (decision, (right - asked) / asked)
    assert rule_of(verdict, "change in retained facts").decision == "ok"  # of all facts a hundredth or so was lost
    assert found.note == (f"small, {asked} facts in common; the worst of 21" if right < asked else found.note)


def test_the_worst_of_many_slices_must_be_worse_than_chance_makes_it():
    before, after = of_slices(small=(25, 25)), of_slices(small=(25, 15))
    alone = Evidence(after.scores, {row: right for row, right in after.outcomes.items() if row.startswith("small")})
    assert rule_of(judged(alone, before, retained_facts=1), WORST).decision == "FAILED"
    assert rule_of(judged(after, before), WORST).decision == "undecided"


def test_what_every_slice_loses_by_chance_is_neither_refused_nor_left_to_a_person():
    chance, below = Random(1), 0
    sizes = {f"s{number}": 8 for number in range(20)}
    before = of_slices(**{name: (size, size) for name, size in sizes.items()})
    for _ in range(100):
        lost = {f"{name}/{fact}/" for name, size in sizes.items() for fact in range(size) if chance.random() < 0.03}
        rows = {row: not any(row.startswith(fact) for fact in lost) for row in before.outcomes}
        found = rule_of(judged(Evidence(before.scores, rows), before), WORST)
        assert found.decision == "ok"
        below += found.value < -GATE.slice_margin
    assert below > 10  # though the worst of them looks bad


def test_a_slice_of_four_facts_is_judged_with_all_others_alone():
    lost = of_slices(small=(4, 0))
    assert rule_of(judged(lost, of_slices(small=(4, 4))), WORST).decision == "ok"
    few = Evidence(lost.scores, {row: right for row, right in lost.outcomes.items() if row.startswith("small")})
    assert not rule_of(judged(few, few, retained_facts=1), WORST).applies
