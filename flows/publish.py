"""Publishes the timeline: every slice's run and model version in MLflow, and the champion by the gate."""

import hashlib
import json
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tasks import artifact
from tasks.errors import BadInput, reason_of
from tasks.params import Params, load_params
from tasks.registry import store
from tasks.reporting.summary import percent
from tasks.scoring.gate import Evidence, decide
from tasks.scoring.series import series_of

NOTE = Path(".perennial/published.json")
REPORT = (Path("reports/timeline.json"), Path("reports/index.html"))
PLOTS = Path("reports/plots")


@dataclass(frozen=True)
class Published:
    """published: the slices whose versions are new; champion: its slice; reasons: why a slice was not accepted."""

    published: tuple[str, ...] = ()
    champion: str | None = None
    reasons: dict[str, str] = field(default_factory=dict)
    warning: str | None = None


def publish_timeline(root: Path) -> Published:
    """Publish what is not published yet and let the gate choose the champion, slice after slice.

    A dead server costs a few seconds and a warning; the next run publishes then.

    Raises:
        BadInput: a slice has no model or no scores yet.
    """
    content, note = _content(root), _noted(root)
    if _is_published(note, content):
        return Published(champion=note["champion"], reasons=note["reasons"])
    try:
        store.probe()  # before mlflow is imported: that alone takes a second
        done = _publish_all(root, load_params(root / "params.yaml"))
    except store.failures() as error:
        return _not_published(error)
    note = {"content": content, "champion": done.champion, "reasons": done.reasons}
    artifact.write_file(root / NOTE, (json.dumps(note) + "\n").encode())
    return done


def _is_published(note: dict[str, Any], content: str) -> bool:
    return note.get("content") == content and store.exists()


def _not_published(error: Exception) -> Published:
    return Published(warning=f"Nothing was published to MLflow: {reason_of(error)}. The next run publishes.")


def _publish_all(root: Path, params: Params) -> Published:
    from tasks.registry import versions

    client = store.connect()
    store.end_killed_runs(client)
    known = {each.version for each in versions.all_versions(client)}
    leader: Evidence | None = None
    leading = challenging = None
    new: list[str] = []
    reasons: dict[str, str] = {}
    history: list[dict[str, Any]] = []
    former: list[Evidence] = []
    for name in params.timeline:
        scores = _scores(root / "reports/evaluation" / name)
        history.append(scores)
        version = versions.publish(client, _publication(root, params, name, history))
        if version.version not in known:
            new.append(name)
        versions.set_alias(client, versions.alias_of(name), version)
        candidate = Evidence(scores, _outcomes(root / "reports/evaluation" / name))
        verdict = decide(params.gate, candidate, leader, former)
        accepted = verdict.decision == "accepted"
        versions.set_verdict(client, version, accepted, tuple(rule.told() for rule in verdict.rules))
        if accepted:
            leader, leading, challenging = candidate, version, None
            former.append(candidate)
        else:
            challenging = version
            reasons[name] = verdict.told("FAILED", "undecided")
    if leading:
        versions.set_alias(client, versions.CHAMPION, leading)
    if challenging:
        versions.set_alias(client, versions.CHALLENGER, challenging)
    else:
        versions.drop_alias(client, versions.CHALLENGER)
    files = [root / path for path in REPORT if (root / path).exists()]
    versions.publish_timeline_run(client, _series(root, params, history), files, root / PLOTS)
    return Published(tuple(new), leader.scores["slice"] if leader else versions.champion(), reasons)


def _publication(root: Path, params: Params, name: str, history: list[dict[str, Any]]) -> Any:
    from tasks.registry.versions import Publication

    examples, retriever = root / "data/examples" / name, root / "models" / name / "retriever"
    commit = _commit(root)
    valid = history[-1]["valid"]
    return Publication(
        name=name,
        lm=root / "models" / name / "lm",
        retriever=retriever,
        examples=examples,
        scores=history[-1],
        params=_flat(params.model_dump(exclude={"timeline", "reference"})),
        tags={
            "dataset.sha256": artifact.manifest_sum(examples),
            "retriever.sha256": artifact.manifest_sum(retriever),
            "git.commit": commit,
            "mlflow.source.git.commit": commit,  # where MLflow's pages look for it
        },
        series=series_of(history, params.kind),
        plots=root / PLOTS,
        description=f"After {name}: all facts true then {percent(valid['accuracy'])} % right, "
        f"reworded {percent(valid['paraphrase_accuracy'])} %.",
    )


def _series(root: Path, params: Params, history: list[dict[str, Any]]) -> dict[str, list[tuple[int, float]]]:
    """The default's curves and, if there is a reference for every later slice, its own."""
    naive = [root / "reports/evaluation/naive" / name for name in params.reference]
    series = series_of(history, params.kind)
    if naive and len(naive) == len(history) - 1 and all((folder / artifact.MANIFEST).exists() for folder in naive):
        reference = series_of([history[0], *(_scores(folder) for folder in naive)], params.kind)
        series |= {f"naive.{name}": points for name, points in reference.items() if not name.startswith("retriever")}
    return series


def _flat(value: Any, name: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        return {name: value}
    return {
        key: inner
        for part, of_part in value.items()
        for key, inner in _flat(of_part, f"{name}.{part}" if name else part).items()
    }


def _scores(folder: Path) -> dict[str, Any]:
    scores: dict[str, Any] = artifact.read_json(artifact.verified(folder) / "scores.json")
    return scores


def _outcomes(folder: Path) -> dict[str, bool]:
    """Empty where an older version evaluated."""
    path = folder / "outcomes.json"
    return dict(artifact.read_json(path)) if path.exists() else {}


def _content(root: Path) -> str:
    """One sum of what would be published, by which gate, and where to."""
    params = load_params(root / "params.yaml")
    folders = [
        folder
        for name in params.timeline
        for folder in (
            root / "models" / name / "lm",
            root / "models" / name / "retriever",
            root / "reports/evaluation" / name,
        )
    ]
    for folder in folders:
        if not (folder / artifact.MANIFEST).exists():
            raise BadInput(f"{folder} is missing or incomplete. Run `perennial run` to build it.")
    sums = [artifact.manifest_sum(folder) for folder in folders]
    sums += [artifact.file_sum(root / path) for path in REPORT if (root / path).exists()]
    where = [store.tracking_uri(), params.gate.model_dump(), list(params.timeline), sums]
    return hashlib.sha256(json.dumps(where).encode()).hexdigest()


def _noted(root: Path) -> dict[str, Any]:
    try:
        noted: dict[str, Any] = json.loads((root / NOTE).read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return {}
    return noted


def _commit(root: Path) -> str:
    done = subprocess.run(["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "none"
