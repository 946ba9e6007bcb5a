"""Calls a step as dvc.yaml's `cmd` writes it: `stage1 --examples data/examples/2021 ... --out models/...`.

A step's signature is its contract. An argument of type Path comes from the command line; one whose type is
a section of params.yaml is that section; `seed` is the seed; `scratch` is a folder, kept between a killed run
and the next, that belongs to exactly these inputs; `log` takes (step, values) while the step trains.
Three options no step knows: `--settings path` is read in the place of params.yaml, `--cost path` is where seconds and
memory are written, which belong to no stage: they are others on every machine, and `--shard path` is one of the parts
of its work that other processes may do beforehand: that is then all that is done.
"""

import hashlib
import importlib
import inspect
import json
import platform
import resource
import shutil
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, get_type_hints

from tasks import artifact, closure
from tasks.errors import BadInput
from tasks.params import PARAMS, Methods, Params, Section, load_params

Log = Callable[[int, dict[str, float]], None]

STEPS = (
    "settings", "origin", "encoder", "dataset", "pairs", "retriever", "pretrain", "stage1", "stage2", "evaluate",
    "naive", "report",
)  # fmt: skip
SINGLE = ("seed", "kind")  # keys of params.yaml that are no section, by the arguments' own names
COMPUTING = ("encoder", "retriever", "pretrain", "stage1", "stage2", "evaluate", "naive")  # with torch, in threads
SHARDED = ("stage2",)  # beside these stand `shards`, where parts of their work lie, and `shard`, which does one
THREADS, PRECISION = "threads", "precision"  # of torch; another number or type gives other bytes
LANGUAGE = ("pretrain", "stage1", "stage2", "evaluate", "naive")  # with a language model, in that precision
SCRATCH = Path(".perennial/scratch")
LIBRARIES = ("torch", "transformers", "tokenizers", "peft", "sentence-transformers", "numpy")  # whose versions decide


def print_step(step: int, values: dict[str, float]) -> None:
    """As a log, in a process of its own: a line of JSON for the one that shows how far it is."""
    print(json.dumps({"step": step, "loss": values.get("loss")}), flush=True)


def run_step(argv: list[str], log: Log | None = None, live: bool = True) -> None:
    """Run one step.

    Args:
        argv: the step's name, then `--name path` pairs.
        log: shows progress where the step is started from; next to it, MLflow receives the same values.
        live: send what is logged to MLflow while the step runs.

    Raises:
        BadInput: an unknown step, or an argument that is missing or unknown.
    """
    step, paths = _parse(argv)
    cost, part = paths.pop("cost", None), paths.pop("shard", None)
    function, params, arguments = _prepared(step, paths)
    if part:
        _do_shard(step, part, arguments, params)
        return
    started = time.monotonic()
    _call(function, step, arguments, params, log, live)
    if cost:
        content = {"seconds": round(time.monotonic() - started, 2), "peak_memory_mb": _peak_memory_mb()}
        artifact.write_file(cost, (json.dumps(content, sort_keys=True) + "\n").encode())
    if "scratch" in arguments:
        shutil.rmtree(arguments["scratch"], ignore_errors=True)


def missing_shards(argv: list[str]) -> list[Path]:
    """The parts of a step's work that a process each may do now, by `--shard`; the step itself does what is missing."""
    step, paths = _parse(argv)
    if step not in SHARDED:
        return []
    paths.pop("cost", None)
    _, _, arguments = _prepared(step, paths)
    parts = _function(step, "shards")(arguments["settings"], arguments["scratch"])
    return [part for part in parts if not (part / artifact.MANIFEST).is_file()]


def usage(argv: list[str]) -> str:
    """How a step is called, or, if argv names none, which there are."""
    if argv[0] not in STEPS:
        return f"python -m tasks STEP --name path ...  One step, as dvc.yaml calls it. Steps: {', '.join(STEPS)}."
    needed, known = _paths(_function(argv[0]))
    words = [f"--{name} PATH" if name in needed else f"[--{name} PATH]" for name in known]
    return f"python -m tasks {argv[0]} {' '.join(words)}"


def sections_of(step: str) -> set[str]:
    """The parameters that decide what a step writes; dvc.yaml must list the same."""
    sections = {_section(annotation, name) for name, annotation in _settings(_function(step)).items()}
    return sections | ({THREADS} if step in COMPUTING else set()) | ({PRECISION} if step in LANGUAGE else set())


def _parse(argv: list[str]) -> tuple[str, dict[str, Path]]:
    if not argv or argv[0] not in STEPS:
        raise BadInput(f"Unknown step '{argv[0] if argv else ''}'. The steps are: {', '.join(STEPS)}.")
    step, *rest = argv
    names, values = rest[::2], rest[1::2]
    if len(names) != len(values) or not all(name.startswith("--") for name in names):
        raise BadInput(f"Usage: python -m tasks {step} --name path ...")
    return step, {name[2:]: Path(value) for name, value in zip(names, values, strict=True)}


def _prepared(step: str, paths: dict[str, Path]) -> tuple[Callable[..., None], Params, dict[str, Any]]:
    """A step's function, all parameters, and what it is called with."""
    params = load_params(paths.pop("settings", PARAMS))
    function = _function(step)
    arguments = _arguments(step, function, params, paths)
    if "scratch" in inspect.signature(function).parameters:
        arguments["scratch"] = SCRATCH / f"{step}-{_key(step, arguments, params)[:16]}"
    return function, params, arguments


def _do_shard(step: str, part: Path, arguments: dict[str, Any], params: Params) -> None:
    """Do one part of a step's work.

    Raises:
        BadInput: it belongs to other inputs, settings or code, or to a machine that computes otherwise.
    """
    if step not in SHARDED or part.parent != arguments["scratch"]:
        raise BadInput(
            f"{part} is no part of what this machine would do for '{step}'. The machines that share a slice need the "
            "same folder, code, libraries, threads and kind of processor."
        )
    function = _function(step, "shard")
    given = arguments | {"out": part}
    _call(function, step, {name: given[name] for name in inspect.signature(function).parameters}, params, None, False)


def _function(step: str, name: str = "") -> Callable[..., Any]:
    """A step, or what stands beside it under another name."""
    return getattr(importlib.import_module(f"tasks.{step}"), name or step)


def _arguments(step: str, function: Callable[..., None], params: Params, paths: dict[str, Path]) -> dict[str, Any]:
    needed, known = _paths(function)
    if wrong := sorted((paths.keys() - set(known)) | (set(needed) - paths.keys())):
        raise BadInput(f"Step '{step}': --{wrong[0]} is {'unknown' if wrong[0] in paths else 'missing'}.")
    settings = {name: getattr(params, _section(annotation, name)) for name, annotation in _settings(function).items()}
    return settings | paths


def _paths(function: Callable[..., None]) -> tuple[list[str], list[str]]:
    """The arguments that are paths: those without a default, and all."""
    kinds = get_type_hints(function, include_extras=True)
    known = [name for name, kind in kinds.items() if kind in (Path, Path | None) and name != "scratch"]
    parameters = inspect.signature(function).parameters
    return [name for name in known if parameters[name].default is inspect.Parameter.empty], known


def _settings(function: Callable[..., None]) -> dict[str, Any]:
    return {
        name: annotation
        for name, annotation in get_type_hints(function, include_extras=True).items()
        if name in SINGLE or annotation == Methods or (inspect.isclass(annotation) and issubclass(annotation, Section))
    }


def _section(annotation: Any, name: str) -> str:
    if name in SINGLE:
        return name
    return next(key for key, field in Params.model_fields.items() if field.annotation == annotation)


def _key(step: str, arguments: dict[str, Any], params: Params) -> str:
    """What a checkpoint belongs to: the step, its settings, the bytes of its inputs, its code, and where it runs.

    The code is the step's modules and the libraries' versions: a method that was mended must not go on where the one
    before it stopped.
    """
    import torch

    inputs = {
        name: artifact.manifest_sum(value)
        for name, value in arguments.items()
        if isinstance(value, Path) and (value / artifact.MANIFEST).is_file() and name != "out"
    }
    settings = {name: repr(value) for name, value in arguments.items() if not isinstance(value, Path)}
    code = [closure.code_sum(f"tasks.{step}"), *(f"{name} {version(name)}" for name in LIBRARIES)]
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else torch.backends.cpu.get_cpu_capability()
    machine = [platform.machine(), torch.__version__, device, params.threads, params.precision]
    return hashlib.sha256(json.dumps([step, inputs, settings, code, machine], sort_keys=True).encode()).hexdigest()


def _call(
    function: Callable[..., None],
    step: str,
    arguments: dict[str, Any],
    params: Params,
    log: Log | None,
    live: bool,
) -> None:
    if step in COMPUTING:
        import torch

        torch.set_num_threads(params.threads)
        if step in LANGUAGE:
            from tasks.lm.logits import compute_in

            compute_in(params.precision)
        torch.use_deterministic_algorithms(True)
    if "log" not in inspect.signature(function).parameters:
        function(**arguments)
        return
    logs = [log] if log else []
    if not live:
        function(**arguments, log=_to_all(logs))
        return
    from tasks.registry.live import Live
    from tasks.registry.store import names_of

    settings = {name: value for name, value in arguments.items() if not isinstance(value, Path)}
    names = names_of(params.registry)
    with Live(f"{step} {_slice_of(arguments['out'])}", _key(step, arguments, params), settings, names) as sent:
        function(**arguments, log=_to_all([*logs, sent]))


def _slice_of(out: Path) -> str:
    return out.parent.name


def _to_all(logs: list[Log]) -> Log:
    def log(step: int, values: dict[str, float]) -> None:
        for each in logs:
            each(step, values)

    return log


def _peak_memory_mb() -> float:
    """Of this process since it began, in MiB (Linux counts in KiB); where a GPU was used, what it held on the GPU."""
    torch = sys.modules.get("torch")  # a step that did without it used none
    if torch and torch.cuda.is_available() and torch.cuda.is_initialized():
        return round(torch.cuda.max_memory_allocated() / 2**20, 1)
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)
