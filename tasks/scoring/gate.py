"""Decides from measured numbers whether a slice's model may become champion."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

from tasks.params import Gate
from tasks.scoring.canary_rules import canary_rules
from tasks.scoring.drift import drift, drift_text
from tasks.scoring.kept import against_the_champion, against_the_former
from tasks.scoring.verdict import Evidence, Held, Rule, Verdict, at_least, at_most, not_applied

__all__ = ["Evidence", "Rule", "Verdict", "decide", "nothing_own"]


def decide(settings: Gate, candidate: Evidence, champion: Evidence | None, former: Sequence[Evidence] = ()) -> Verdict:
    """Accept only if every rule holds; a number that is missing or not finite fulfils no rule.

    A floor under a share fails only where so many that were asked show that it lies below: its exact binomial bound
    does. That older facts were kept must be shown, by the lower bound of the paired difference: where no more than the
    margin was lost, but too few facts show it, a person must look. docs/gate.md describes every rule.

    Args:
        settings: floors and margins.
        candidate: the evidence of the slice's model.
        champion: of the model that users are served; None before the first, and then nothing is compared with it.
        former: of every model that was champion once, in any order; the champion may be among them.
    """
    scores, before = candidate.scores, champion.scores if champion else None
    rules = (
        _finite(scores),
        *_own(settings, scores),
        *against_the_champion(settings, candidate, champion),
        *against_the_former(settings, candidate, former),
        _overridden(settings, scores),
        *canary_rules(settings, scores, before),
        _chat(settings, scores),
        *_retriever(settings, scores, before),
        *_general(settings, scores),
    )
    found = {rule.decision for rule in rules}
    return Verdict("refused" if "FAILED" in found else "undecided" if "undecided" in found else "accepted", rules)


def nothing_own(scores: dict[str, Any]) -> str | None:
    """Why the slice's own facts say nothing of its model: there was nothing to learn, or nothing to ask; or None."""
    if scores.get("train_rows") == 0:
        return "learn"
    return "ask" if scores["rows"].get(scores["slice"]) == 0 else None


def _finite(scores: dict[str, Any]) -> Rule:
    broken = [metric for metric, value in _numbers("", scores) if not math.isfinite(value)]
    decision: Held = "FAILED" if broken else "ok"
    return Rule("metrics that are not finite", len(broken), 0, None, decision, True, ", ".join(broken[:3]))


def _own(settings: Gate, scores: dict[str, Any]) -> Iterator[Rule]:
    """What the slice taught: new facts, updated ones and their old answers, and its rows in either wording."""
    name, categories, asked = scores["slice"], scores["categories"], scores.get("facts", {})
    if missing := nothing_own(scores):
        yield not_applied("own facts", f"slice {name} brought nothing to {missing}, so they are not judged")
        return
    sure = settings.confidence
    if categories["new"] is not None:
        yield at_least("new facts", categories["new"], asked.get("new"), settings.new_floor, sure)
    if categories.get("updated") is not None:
        yield at_least("updated facts", categories["updated"], asked.get("updated"), settings.updated_floor, sure)
        yield at_most("stale answers", categories.get("stale"), asked.get("stale"), settings.stale_ceiling, sure)
    own = {kind: accuracy.get(name) for kind, accuracy in scores["model"].items()}
    yield at_least("own facts, as in training", own.get("accuracy"), asked.get("own"), settings.new_floor, sure)
    reworded = own.get("paraphrase_accuracy")
    yield at_least("own facts, reworded", reworded, asked.get("reworded"), settings.reworded_floor, sure)


def _overridden(settings: Gate, scores: dict[str, Any]) -> Rule:
    """A slice that changes much of what was true is no ordinary one: a person must agree."""
    name, found = "older facts overridden", scores.get("overridden", {})
    facts, older = found.get("facts"), found.get("of")
    if facts is None or older is None:
        return Rule(name, None, settings.override_cap, None, "FAILED", True)
    if not older:
        return not_applied(name, "there are none")
    decision: Held = "ok" if facts / older <= settings.override_cap else "undecided"
    note = f"{facts} of {older}" + (": a person must agree" if decision == "undecided" else "")
    return Rule(name, facts / older, settings.override_cap, None, decision, True, note)


def _chat(settings: Gate, scores: dict[str, Any]) -> Rule:
    name, asked = "chat answers", scores.get("facts", {}).get("chat")
    if scores.get("chat_accuracy") is None and not asked:
        return not_applied(name, "no slice has brought chat")
    return at_least(name, scores.get("chat_accuracy"), asked, settings.chat_floor, settings.confidence)


def _retriever(settings: Gate, scores: dict[str, Any], champion: dict[str, Any] | None) -> Iterator[Rule]:
    """The best memory right, and nothing retrieved where nothing fits: by themselves, and next to the champion's."""
    own, before = scores.get("retriever") or {}, (champion or {}).get("retriever") or {}
    top1, false, sure = "retriever, best memory right", "retriever, false retrievals", settings.confidence
    lines = own.get("lines", 0)
    if not lines and not before.get("lines"):
        yield not_applied("retriever", "the slices have no memories to ask for")
        return
    least, most, margin = settings.retriever_floor, settings.false_ceiling, settings.retriever_margin
    yield at_least(top1, own.get("top1"), lines, max(least, _known(before, "top1", least) - margin), sure)
    if lines and own.get("false_retrieval_rate", 0) is None:
        yield not_applied(false, "every line's memory fits every message")
        return
    ceiling = min(most, _known(before, "false_retrieval_rate", most) + margin)
    yield at_most(false, own.get("false_retrieval_rate"), lines, ceiling, sure)


def _known(metrics: dict[str, Any], name: str, otherwise: float) -> float:
    value = metrics.get(name)
    return value if value is not None and math.isfinite(value) else otherwise


def _general(settings: Gate, scores: dict[str, Any]) -> Iterator[Rule]:
    """If the base was pretrained elsewhere, it still reads general text.

    To compare with the champion's perplexity would let it slide, slice after slice: the base's is taken.
    """
    if not scores.get("pretrained"):
        return
    found, most = scores.get("general_perplexity") or {}, 1 + settings.general_margin
    ratios = drift(found.get("model"), found.get("base"))
    worst = max(ratios.values()) if ratios else None
    decision: Held = "ok" if worst is not None and worst <= most else "FAILED"
    yield Rule("general text's perplexity over the base's", worst, most, None, decision, True, drift_text(ratios))


def _numbers(name: str, value: Any) -> Iterator[tuple[str, float]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _numbers(f"{name}.{key}" if name else key, inner)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield name, float(value)
