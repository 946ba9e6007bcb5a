"""The receipt of an erasure: what was taken out, of which model, who answers now, and what still has it."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flows.add import EXAMPLES, RAW
from flows.publish import EVALUATION
from tasks import artifact
from tasks.corpus.slices import undone_by
from tasks.errors import reason_of
from tasks.params import Params
from tasks.registry import store

FOLDER = Path("reports/erased")
MODELS, PAIRS = Path("models"), Path("data/pairs")


def write(root: Path, params: Params, rows: list[dict[str, Any]], before: str) -> dict[str, Any]:
    """Write a receipt into reports/erased, and return it.

    Args:
        root: the project's folder.
        params: all settings.
        rows: file, digest and slices of each row that was erased.
        before: the sum of the newest slice's model as it was.
    """
    names = list(params.timeline)
    newest, oldest = names[-1], min((name for row in rows for name in row["slices"]), key=names.index)
    model, retriever = (artifact.manifest_sum(root / MODELS / newest / each) for each in ("lm", "retriever"))
    receipt = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "rows": rows,
        "returned": [fact["id"] for fact in undone_by(root / EXAMPLES / newest).returned],
        "model": {"slice": newest, "before": before, "now": model},
        "still": _files(root, names, rows, names.index(oldest)),
        **_registry(params, names[names.index(oldest) :], (model, retriever)),
    }
    path = root / FOLDER / f"{datetime.now(UTC):%Y%m%d-%H%M%S-%f}.json"
    artifact.write_file(path, artifact.json_text(receipt).encode())
    return {**receipt, "path": str(path.relative_to(root))}


def told(receipt: dict[str, Any]) -> str:
    """The receipt in words."""
    rows, model = receipt["rows"], receipt["model"]
    files = dict.fromkeys(row["file"] for row in rows)
    counts = ", ".join(f"{sum(row['file'] == file for row in rows)} of {file}" for file in files)
    lines = [f"Erased: {counts}. The model of {model['slice']} answers as if they had never been given."]
    if receipt["returned"]:
        lines.append(f"True again, as nothing overrides them now: {', '.join(receipt['returned'])}.")
    lines += ["They are still in:", *(f"  {where}" for where in receipt["still"])]
    if receipt["unknown"]:
        lines.append(f"  the registry, perhaps: {receipt['unknown']}")
    if receipt["versions"]:
        plural = "s" if len(receipt["versions"]) > 1 else ""
        lines.append(f"  version{plural} {', '.join(receipt['versions'])} of the registry")
    if receipt["champion"] in receipt["versions"]:
        lines.append(f"Users are answered by one of these, version {receipt['champion']}, until another is champion.")
    return "\n".join([*lines, f"The receipt: {receipt['path']}."])


def _files(root: Path, names: list[str], rows: list[dict[str, Any]], oldest: int) -> list[str]:
    """Where the rows, or what was made of them, still lie; in words."""
    given = {str(RAW / name / row["file"]): None for row in rows for name in row["slices"]}
    made = [
        str(folder / name)
        for folder in (EXAMPLES, PAIRS, MODELS, EVALUATION) for name in names[oldest:-1]
        if (root / folder / name).exists()
    ]  # fmt: skip
    found = [f"{', '.join(given)}: as they were given"]
    found += [f"{', '.join(made)}: the slices as they were then"] if made else []
    found += ["DVC's cache, and its remote if there is one (`dvc gc --workspace` keeps what the files here refer to)"]
    return [*found, "what git has of these files"] if (root / ".git").exists() else found


def _registry(params: Params, since: list[str], now: tuple[str, str]) -> dict[str, Any]:
    """The versions that know the rows: of the slices since they came, but for the one made now."""
    from tasks.registry import versions
    from tasks.registry.champion import champion

    names = store.names_of(params.registry)
    try:
        known = versions.all_versions(store.connect(), names) if store.exists() else []
        champion_now = champion(names)
    except store.failures() as error:
        return {"versions": [], "champion": None, "unknown": reason_of(error)}
    held = [
        str(each.version) for each in known if each.tags.get(versions.SLICE_TAG) in since
        and (each.tags.get(versions.LM_TAG), each.tags.get(versions.RETRIEVER_TAG)) != now
    ]  # fmt: skip
    return {"versions": sorted(held, key=int), "champion": champion_now and champion_now.version, "unknown": None}
