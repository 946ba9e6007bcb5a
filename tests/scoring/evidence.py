"""Evidence such as a slice's evaluation gives, without training a model."""

from typing import Any

from tasks.scoring.gate import Evidence

CHAT = ("What is a password?", "Hello!", "Who are you?", "Good night.")


def scores(
    name: str = "2021",
    own: float | None = 0.97,
    new: float | None = 0.98,
    updated: float | None = 0.95,
    stale: float | None = 0.0,
    paraphrase: float | None = 0.96,
    overall: float | None = 0.98,
    chat: float | None = 0.95,
    top1: float | None = 0.9,
    false: float | None = 0.03,
    retriever: bool = True,
    overridden: tuple[int, int] = (50, 340),
    own_facts: int = 90,
    chat_rows: int = 100,
    rows: int = 130,
    older: int = 400,
    train_rows: int = 2000,
) -> dict[str, Any]:
    """scores.json, as far as the gate reads it."""
    first = name == "2020"
    metrics = {"lines": 100, "top1": top1, "false_retrieval_rate": false}
    return {
        "slice": name,
        "model": {"accuracy": {name: own}, "paraphrase_accuracy": {name: paraphrase}},
        "rows": {name: rows} | ({} if first else {"2020": older}),
        "train_rows": train_rows,
        "facts": dict.fromkeys(("own", "reworded", "new", "updated", "stale"), own_facts) | {"chat": chat_rows},
        "overridden": {"facts": 0, "of": 0} if first else dict(zip(("facts", "of"), overridden, strict=True)),
        "categories": {
            "new": new, "updated": None if first else updated, "stale": None if first else stale,
            "retained": None if first else overall,
        },
        "valid": {"accuracy": overall, "paraphrase_accuracy": overall},
        "chat_accuracy": chat,
        "retriever": metrics if retriever else None,
        "canary": {"digest": "1", "model": canary(), "previous": canary()},
    }  # fmt: skip


def canary(
    right: int = 4, answers: tuple[str, ...] = ("It is a word.", "Hi!", "A friend.", "Sleep well."), facts: int = 4
):
    """What one model answered to a canary of a few facts, four questions each."""
    told = [{"fact": f"fact {number}", "right": right, "asked": 4} for number in range(facts)]
    return {"facts": told, "chat": [{"prompt": p, "answer": a} for p, a in zip(CHAT, answers, strict=False)]}


def evidence(
    name: str = "2021",
    right: dict[str, float] | None = None,
    facts: int = 400,
    outcomes: bool = True,
    **measured: Any,
) -> Evidence:
    """Of a slice's model: the given share of the facts of 2020 is answered rightly, in every wording or in none."""
    right = right or {"2020": 0.98}
    rows = {
        f"{of}/{fact}/en/{kind}#{of}": fact < share * facts
        for of, share in right.items()
        for fact in range(facts)
        for kind in ("seen", "paraphrase", "everyday")
    }
    overall = next(iter(right.values()))
    return Evidence(scores(name, **{"overall": overall} | measured), rows if outcomes else {})


def rule_of(verdict: Any, name: str) -> Any:
    (found,) = [rule for rule in verdict.rules if rule.name == name]
    return found
