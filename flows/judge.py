"""The gate at work: each version is judged once, and the last that beats the champion takes its place.

A version is judged when it is new or was measured anew; the newest is judged again where the gate's settings have
changed and it was not accepted. What was decided stays written.
"""

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tasks import artifact
from tasks.params import Gate
from tasks.registry.champion import (
    champion_version,
    former_champions,
    is_held,
    promote,
    set_challenger,
    verdict_of,
    write_verdict,
)
from tasks.registry.served import refuse_unservable
from tasks.registry.store import Names
from tasks.registry.versions import OUTCOMES, SCORES, SCORES_TAG, SLICE_TAG, measured_of
from tasks.scoring.gate import Evidence, decide

Decision = dict[str, Any]  # decision; rules; reasons: they in words; open: those not fulfilled; against: a version


@dataclass(frozen=True)
class Judge:
    """Judges the versions of a timeline.

    Attributes:
        client: of MLflow.
        evaluation: the folder of every slice's scores.
        made: each slice's version, in the order of the timeline.
    """

    client: Any
    names: Names
    gate: Gate
    evaluation: Path
    made: dict[str, Any]

    def decide_all(self) -> dict[str, Decision]:
        """Judge what is not judged yet, promote the last that beats the champion, and return all decisions.

        Slices before the champion's are judged against the one before them, from the champion's on against it and
        whatever beat it.
        """
        slices, champion = list(self.made), champion_version(self.client, self.names)
        its_slice = champion.tags.get(SLICE_TAG) if champion else slices[0]
        first = slices.index(its_slice) if its_slice in slices else len(slices) - 1
        decisions: dict[str, Decision] = {}
        leading, over, accepted = champion, None, list[Any]()
        for place, (name, version) in enumerate(self.made.items()):
            against = leading if place >= first else accepted[-1] if accepted else None
            decisions[name] = found = self._decision(version, against, accepted, name == slices[-1])
            if found["decision"] != "accepted":
                continue
            accepted.append(version)
            beats = place >= first and found.get("against") == _number(leading)
            if beats and not (champion and is_held(self.client, self.names, version)):
                leading, over = version, found.get("against")
        if leading and _number(leading) != _number(champion):
            refuse_unservable(leading, self.gate.served)
            because = f"accepted against version {over}" if over else "the first that was accepted"
            promote(self.client, self.names, leading, because=because)
        newest = slices[-1]
        waits = decisions[newest]["decision"] != "accepted"
        set_challenger(self.client, self.names, self.made[newest] if waits else None)
        return decisions

    def _decision(self, version: Any, against: Any | None, accepted: list[Any], newest: bool) -> Decision:
        """What was decided about a version, or is now.

        Besides with the version that it is judged against, it is compared with all that ever were champion or, as the
        slices before it, accepted: small losses add up.
        """
        known = verdict_of(version)
        gate, scores = _sum_of(self.gate), version.tags[SCORES_TAG]
        again = newest and known.get("decision") != "accepted" and known.get("gate") != gate
        if known.get("by") == "person" or (known.get("scores") == scores and not again):
            return known
        former = {each.version: each for each in [*former_champions(self.client, self.names), *accepted]}
        former.pop(version.version, None)
        verdict = decide(
            self.gate,
            evidence_in(self.evaluation / version.tags[SLICE_TAG]),
            _evidence(against) if against else None,
            [_evidence(each) for each in former.values()],
        )
        decision = {
            "decision": verdict.decision,
            "rules": [asdict(rule) for rule in verdict.rules],
            "reasons": [rule.told() for rule in verdict.rules],
            "open": [rule.told() for rule in verdict.rules if rule.decision != "ok"],
            "against": _number(against),
            "gate": gate,
            "scores": scores,
        }
        write_verdict(self.client, self.names, version, decision)
        return decision


def evidence_in(folder: Path) -> Evidence:
    """What the evaluation in a folder found, every byte checked."""
    outcomes = artifact.verified(folder) / OUTCOMES
    return Evidence(artifact.read_json(folder / SCORES), artifact.read_json(outcomes) if outcomes.exists() else {})


def _evidence(version: Any) -> Evidence:
    return Evidence(measured_of(version, SCORES) or {}, measured_of(version, OUTCOMES) or {})


def _number(version: Any | None) -> str | None:
    return None if version is None else str(version.version)


def _sum_of(gate: Gate) -> str:
    return hashlib.sha256(gate.model_dump_json().encode()).hexdigest()
