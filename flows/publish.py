"""Publishes the timeline: every slice's run and model version in MLflow, and the champion by the gate."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks import artifact
from tasks.params import Params, load_params
from tasks.registry import store
from tasks.scoring.gate import decide

NOTE = Path(".perennial/published.json")


@dataclass(frozen=True)
class Published:
    """published: the slices whose versions are new; champion: its slice; reasons: why a slice was not accepted."""

    published: tuple[str, ...] = ()
    champion: str | None = None
    reasons: dict[str, str] | None = None
    warning: str | None = None


def publish_timeline(root: Path) -> Published:
    """Publish what is not published yet and let the gate choose the champion, slice after slice.

    A dead server costs a few seconds and a warning; the next run publishes then.
    """
    params = load_params(root / "params.yaml")
    content = _content(root, params)
    note = _noted(root)
    if note.get("content") == content and store.exists():
        return Published(champion=note["champion"], reasons=note["reasons"])
    from mlflow.exceptions import MlflowException

    try:
        done = _publish_all(root, params)
    except (store.Unreachable, MlflowException, OSError) as error:
        reason = str(error).split("\n")[0]
        return Published(warning=f"Nothing was published to MLflow: {reason} Run again when it answers.")
    told = {"content": content, "champion": done.champion, "reasons": done.reasons}
    artifact.write_file(root / NOTE, (json.dumps(told) + "\n").encode())
    return done


def _publish_all(root: Path, params: Params) -> Published:
    from tasks.registry import versions

    client = store.connect()
    leader: dict[str, Any] | None = None
    leading = None
    new: list[str] = []
    reasons: dict[str, str] = {}
    latest = None
    history: list[dict[str, Any]] = []
    for name in params.timeline:
        scores = _scores(root, name)
        history.append(scores)
        publication = _publication(root, params, name, history)
        known = {each.version for each in versions.all_versions(client)}
        version = versions.publish(client, publication)
        if version.version not in known:
            new.append(name)
        versions.set_alias(client, versions.alias_of(name), version)
        verdict = decide(params.gate, scores, leader)
        versions.set_verdict(client, version, verdict.accepted, verdict.reasons)
        if verdict.accepted:
            leader, leading = scores, version
        else:
            reasons[name] = "; ".join(each for each in verdict.reasons if each.startswith("FAILED"))
        latest = (version, verdict.accepted)
    if leading:
        versions.set_alias(client, versions.CHAMPION, leading)
    if latest and not latest[1]:
        versions.set_alias(client, versions.CHALLENGER, latest[0])
    elif latest:
        versions.drop_alias(client, versions.CHALLENGER)
    return Published(tuple(new), leader["slice"] if leader else None, reasons)


def _publication(root: Path, params: Params, name: str, history: list[dict[str, Any]]) -> Any:
    from tasks.registry.versions import Publication

    examples = root / "data/examples" / name
    return Publication(
        name=name,
        lm=root / "models" / name / "lm",
        scores=history[-1],
        params=_flat(params.model_dump(exclude={"timeline", "reference"})),
        tags={
            "dataset.sha256": artifact.manifest_sum(examples),
            "git.commit": _commit(root),
            "perennial.retriever": artifact.manifest_sum(root / "models" / name / "retriever"),
        },
        series=_series(history),
        plots=root / "reports/plots",
        examples=examples,
    )


def _series(history: list[dict[str, Any]]) -> dict[str, list[float]]:
    """Metrics over the slices so far, so that the UI draws them as curves; a gap ends a curve."""
    series: dict[str, list[float]] = {}
    for kind in ("new", "updated", "retained", "stale"):
        series[kind] = [each["categories"][kind] for each in history if each["categories"][kind] is not None]
    for kind in ("accuracy", "paraphrase_accuracy"):
        series[f"valid.{kind}"] = [each["valid"][kind] for each in history if each["valid"][kind] is not None]
        for name in history[-1]["model"][kind]:
            values = [each["model"][kind].get(name) for each in history]
            series[f"{kind}.{name}"] = [value for value in values if value is not None]
    return {name: values for name, values in series.items() if values}


def _flat(value: Any, name: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        return {name: value}
    return {
        key: inner
        for part, of_part in value.items()
        for key, inner in _flat(of_part, f"{name}.{part}" if name else part).items()
    }


def _scores(root: Path, name: str) -> dict[str, Any]:
    scores: dict[str, Any] = artifact.read_json(artifact.verified(root / "reports/evaluation" / name) / "scores.json")
    return scores


def _content(root: Path, params: Params) -> str:
    """What would be published, and where to."""
    sums = [
        artifact.manifest_sum(root / folder / name / rest)
        for name in params.timeline
        for folder, rest in (("models", "lm"), ("models", "retriever"), ("reports/evaluation", ""))
    ]
    return json.dumps([store.tracking_uri(), params.gate.model_dump(), sums])


def _noted(root: Path) -> dict[str, Any]:
    try:
        noted: dict[str, Any] = json.loads((root / NOTE).read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return {}
    return noted


def _commit(root: Path) -> str:
    done = subprocess.run(["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "none"
