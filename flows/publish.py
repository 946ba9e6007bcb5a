"""Publishes the timeline: every slice's run and model version in MLflow, and the champion by the gate."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows import provenance
from tasks import artifact
from tasks.errors import BadInput, PerennialError, reason_of
from tasks.params import PARAMS, Params, load_params
from tasks.registry import store
from tasks.reporting.summary import percent
from tasks.scoring.series import series_of

if TYPE_CHECKING:
    from flows.judge import Decision
    from tasks.registry.champion import Champion

EVALUATION = Path("reports/evaluation")
REPORT = (Path("reports/timeline.json"), Path("reports/index.html"))
PLOTS = Path("reports/plots")


class NotPublished(PerennialError):
    """MLflow is away or broken: everything is built, and the next run publishes it."""

    exit_code = 4


class NotAccepted(PerennialError):
    """The gate refused the newest slice's model, or leaves it to a person; users keep the champion."""

    exit_code = 5


@dataclass(frozen=True)
class Published:
    """What was published.

    Attributes:
        published: the slices whose versions are new.
        champion: as the registry says now.
        decisions: of each slice, what the gate decided and why.
        problem: what the command must end with: nothing could be published, or the newest slice was not accepted.
    """

    published: tuple[str, ...] = ()
    champion: "Champion | None" = None
    decisions: "dict[str, Decision]" = field(default_factory=dict)
    problem: PerennialError | None = None

    @property
    def refused(self) -> dict[str, str]:
        """Why older slices' versions were not accepted; of the newest the problem tells."""
        older = list(self.decisions.items())[:-1]
        return {name: "; ".join(each["open"]) for name, each in older if each["decision"] != "accepted"}

    @property
    def no_champion(self) -> str:
        return "unknown" if self.problem and not self.decisions else "none yet"


def publish_timeline(root: Path) -> Published:
    """Publish what is not published yet, and let the gate choose the champion.

    A dead server costs a few seconds; the problem is told, and the next run publishes.

    Raises:
        BadInput: a slice has no model or no scores yet.
    """
    params = load_params(root / PARAMS)
    _refuse_unfinished(root, params)
    try:
        return _publish_all(root, params)
    except PerennialError as error:  # the model of this name is another project's
        return Published(problem=error)
    except store.failures() as error:
        return Published(
            problem=NotPublished(f"Nothing was published to MLflow: {reason_of(error)}. The next run publishes.")
        )


def _publish_all(root: Path, params: Params) -> Published:
    from flows.judge import Judge
    from tasks.registry import champion as champions
    from tasks.registry import versions

    client, names = store.connect(), store.names_of(params.registry)
    champions.claim(client, names)
    champions.settle(client, names)
    store.end_killed_runs(client, names)
    known = {each.version for each in versions.all_versions(client, names)}
    history: list[dict[str, Any]] = []
    made: dict[str, Any] = {}
    for name in params.timeline:
        history.append(_scores(root / EVALUATION / name))
        made[name] = versions.publish(client, names, _publication(root, params, name, history))
        versions.set_alias(client, names, versions.alias_of(name), made[name])
    decisions = Judge(client, names, params.gate, root / EVALUATION, made).decide_all()
    files = [root / path for path in REPORT if (root / path).exists()]
    versions.publish_timeline_run(client, names, _series(root, params, history), files, root / PLOTS)
    return Published(
        tuple(name for name, version in made.items() if version.version not in known),
        champions.champion(names),
        decisions,
        _problem(decisions, list(params.timeline)[-1], made),
    )


def _problem(decisions: "dict[str, Decision]", newest: str, made: dict[str, Any]) -> NotAccepted | None:
    verdict = decisions[newest]
    if verdict["decision"] == "accepted":
        return None
    why, number = "; ".join(verdict["open"]), made[newest].version
    if verdict["decision"] == "refused":
        return NotAccepted(f"{newest} was not accepted, and users keep the champion: {why}.")
    return NotAccepted(
        f"{newest} waits for a person, and users keep the champion: {why}. To accept it: "
        f"`perennial promote {number} --because REASON`."
    )


def _publication(root: Path, params: Params, name: str, history: list[dict[str, Any]]) -> Any:
    from tasks.registry.versions import Publication

    valid = history[-1]["valid"]
    examples = root / "data/examples" / name
    return Publication(
        name=name,
        lm=root / "models" / name / "lm",
        retriever=root / "models" / name / "retriever",
        examples=examples,
        evaluation=root / EVALUATION / name,
        params=params.model_dump(exclude={"timeline", "reference"}),
        tags={"dataset.sha256": artifact.manifest_sum(examples), **provenance.tags_of(root)},
        series=series_of(history, params.kind),
        plots=root / PLOTS,
        provenance=provenance.files_of(root),
        description=f"After {name}: all facts true then {percent(valid['accuracy'])} % right, "
        f"reworded {percent(valid['paraphrase_accuracy'])} %.",
    )


def _series(root: Path, params: Params, history: list[dict[str, Any]]) -> dict[str, list[tuple[int, float]]]:
    """The default's curves and, if there is a reference for every later slice, its own."""
    naive = [root / EVALUATION / "naive" / name for name in params.reference]
    series = series_of(history, params.kind)
    if naive and len(naive) == len(history) - 1 and all((folder / artifact.MANIFEST).exists() for folder in naive):
        reference = series_of([history[0], *(_scores(folder) for folder in naive)], params.kind)
        series |= {f"naive.{name}": points for name, points in reference.items() if not name.startswith("retriever")}
    return series


def _scores(folder: Path) -> dict[str, Any]:
    scores: dict[str, Any] = artifact.read_json(artifact.verified(folder) / "scores.json")
    return scores


def _refuse_unfinished(root: Path, params: Params) -> None:
    """Before MLflow is imported: that alone takes a second."""
    for name in params.timeline:
        models = root / "models" / name
        for folder in (models / "lm", models / "retriever", root / EVALUATION / name):
            if not (folder / artifact.MANIFEST).exists():
                raise BadInput(f"{folder} is missing or incomplete. Run `perennial run` to build it.")
