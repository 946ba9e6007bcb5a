"""What a timeline will take on this machine, before anything runs: memory, disk, time; and what would make it fit.

Bytes are those of one process, the largest; a run has one step at work at a time.
"""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
import torch
from transformers import AutoConfig, PretrainedConfig

from tasks.adapter_params import LoRA
from tasks.errors import BadInput, reason_of
from tasks.lm.causal import small_config
from tasks.lm.logits import compute_in
from tasks.lm.sizes import FLOAT, HELD, PROCESS, Sizes, sizes_of
from tasks.method_kinds import fitting
from tasks.params import SMALL, Methods, Params
from tasks.sources.hub import GGUF, folder_of

LEAST_BATCH = 64  # tokens: a few rows
MODELS = 2  # that evaluation holds at a time: the slice's, and one that it is compared with
MODELS_FOLDER = "models"  # where there is one, some slices have their place already
CGROUP = Path("/sys/fs/cgroup/memory.max")
GIGA = 2**30


@dataclass(frozen=True)
class Plan:
    """Of params.yaml as it is.

    Attributes:
        lines: what is taken by what, as pairs of words.
        needed, there: bytes of memory.
        problem: why it does not fit, and the smallest change with which it does; "" if it fits.
    """

    lines: list[tuple[str, str]]
    needed: int
    there: int
    problem: str


class NotMeasured(BadInput):
    """The trial that measures what a model takes fails."""


def plan_of(params: Params, root: Path) -> Plan:
    """Say what the timeline in params.yaml will take.

    Raises:
        BadInput: there is no such model.
    """
    solved, trains = params.stage2.how == "solved", params.stage1.steps > 0
    sizes = _sizes(_config_of(params), params, params.methods)
    trial = _trial(params)
    slices = len(params.timeline)
    learning = 1 if solved else slices  # slices whose stage 1 trains
    bucket = FLOAT * params.stage2.solved.width * (params.stage2.solved.width // 2 + params.stage2.solved.codes)
    # of each slice stage 1's and stage 2's model, and what was solved; and all again in DVC's cache
    disk = 2 * (sizes.weights * (1 + 2 * slices) + bucket * slices * solved)
    there, free = memory_there(), shutil.disk_usage(root).free
    lines = [
        ("parameters", f"{sizes.parameters / 1e6:,.1f} M, {_share(sizes.trained if trains else 0, sizes.parameters)}"),
        ("weights (float32)", _bytes(sizes.weights)),
    ]
    if sizes.saved:
        lines.append(("less while they train", _bytes(sizes.saved)))
    if trains:
        lines += [
            ("AdamW's moments", _bytes(sizes.moments)),
            ("gradients", _bytes(FLOAT * sizes.trained)),
            (f"activations, {sizes.batch_tokens // sizes.accumulate} tokens", _bytes(sizes.activations)),
            ("logits", _bytes(sizes.logits)),
            *([("kept by methods", _bytes(sizes.methods))] if sizes.methods else []),
            ("stage 1, at most", _bytes(sizes.peak)),
        ]
    if trial:
        lines.append(("trial of rates, at most", _bytes(trial)))
    asked = asking(sizes, params.evaluate.batch_tokens)
    lines.append((f"evaluation, {MODELS} models", _bytes(asked)))
    if solved:
        lines.append(("sums of a bucket", _bytes(bucket)))
    lines += [("memory here", _bytes(there)), ("disk, all slices", _bytes(disk)), ("disk here", _bytes(free))]
    if trains:
        step = sizes.seconds * params.stage1.steps
        lines.append(("stage 1", f"{_time(step)} a slice, {_time(step * learning)} in all, by a short trial"))
    needed, problem = max(trial, asked, sizes.peak if trains else 0), ""
    if needed > there:
        change = _change(params, sizes, there, trial)
        problem = f"This would need {_bytes(needed)} of memory, and there are {_bytes(there)}. {change}"
    elif disk > free and not (root / MODELS_FOLDER).exists():
        problem = (
            f"This would need about {_bytes(disk)} on the disk for {slices} slices, and {_bytes(free)} are free. Make "
            "room, or train fewer slices at first."
        )
    return Plan(lines, needed, there, problem)


def refuse_what_does_not_fit(params: Params, root: Path) -> None:
    """Say before a run what it would die of.

    Raises:
        BadInput: memory or disk won't do, with the smallest change that does.
    """
    try:
        plan = plan_of(params, root)
    except NotMeasured:  # no reason not to try it
        return
    if plan.problem:
        raise BadInput(f"{plan.problem} (`perennial plan` has the figures.)")


def memory_there() -> int:
    """Bytes of memory that a process may have: the GPU's where there is one, else the machine's or the container's."""
    if torch.cuda.is_available():
        return int(torch.cuda.mem_get_info()[1])
    total = int(psutil.virtual_memory().total)
    try:
        return min(total, int(CGROUP.read_text(encoding="ascii")))
    except (OSError, ValueError):  # no container, or one without a limit ("max")
        return total


def _config_of(params: Params) -> PretrainedConfig:
    if params.pretrain.model == SMALL:
        return small_config(params.pretrain, params.pretrain.vocabulary)
    model = Path(params.pretrain.model).expanduser()
    try:
        if model.suffix == GGUF and model.is_file():  # as it lies: to make a folder of it would read its weights
            config: PretrainedConfig = AutoConfig.from_pretrained(model.parent, gguf_file=model.name)
        else:
            config = AutoConfig.from_pretrained(folder_of(params.pretrain.model, "pretrain.model"))
    except (OSError, ValueError, RuntimeError) as error:
        raise BadInput(
            f"The config of '{params.pretrain.model}' can't be read: {reason_of(error)}. Check pretrain.model in "
            "params.yaml."
        ) from error
    return config


def _sizes(config: PretrainedConfig, params: Params, methods: Methods) -> Sizes:
    stage1 = params.stage1
    compute_in("bfloat16" if torch.cuda.is_available() else params.precision)  # probed on the CPU, as it will be here
    try:
        sizes = sizes_of(config, methods, stage1.batch_tokens)
        return replace(sizes, accumulate=stage1.accumulate, again=stage1.activation_checkpointing)
    except BadInput:
        raise
    except Exception as error:  # whatever a shallow model of an unforeseen architecture stumbles over
        raise NotMeasured(f"What a {type(config).__name__} takes can't be tried here ({reason_of(error)}).") from error


def asking(sizes: Sizes, tokens: int) -> int:
    """Bytes that evaluation takes in batches of so many tokens, and learning by a solved memory in front of a frozen
    backbone."""
    return PROCESS + round(HELD * (MODELS * sizes.weights + sizes.asked(tokens)))


def _trial(params: Params) -> int:
    """Bytes that the trial of learning rates takes, which trains all of a pretrained model; 0: there is none."""
    if params.pretrain.model == SMALL or len(params.pretrained.learning_rates) == 1:
        return 0
    stage1 = params.stage1.model_copy(
        update={"batch_tokens": params.pretrain.batch_tokens, "accumulate": 1, "activation_checkpointing": False}
    )
    return _sizes(_config_of(params), params.model_copy(update={"stage1": stage1}), ()).peak


def _change(params: Params, sizes: Sizes, there: int, trial: int) -> str:
    """How it would fit.

    Args:
        params: as they are.
        sizes: of what they train.
        there: bytes of memory.
        trial: bytes that the trial of rates takes.
    """
    tokens, changes = params.evaluate.batch_tokens, []
    if asking(sizes, tokens) > there:
        fewer = next((each for each in _halves(tokens) if asking(sizes, each) <= there), None)
        changes.append(f"`evaluate: {{batch_tokens: {fewer}}}`" if fewer else "")
    if params.stage1.steps > 0 and sizes.peak > there:
        changes.append(next((words for words, changed in _changes(params, sizes) if changed.peak <= there), ""))
    if "" in changes:
        return "Choose a smaller model, or a machine with more memory."
    if trial > there:  # one rate is taken untried
        changes.append(f"`pretrained: {{learning_rates: [{min(params.pretrained.learning_rates)}]}}`")
    return f"It fits with {' and '.join(changes)}."


def _changes(params: Params, sizes: Sizes) -> Iterator[tuple[str, Sizes]]:
    """What could be changed, what costs least first: a batch in parts is the same batch."""
    yield from _in_parts(params, sizes)
    if sizes.trained < sizes.parameters:
        return
    try:
        adapted = _sizes(_config_of(params), params, fitting((*params.methods, LoRA(name="lora"))))
    except (ValueError, BadInput):  # a method, or a model, that LoRA can't stand beside
        return
    yield "`{name: lora}` among the methods", adapted
    for said, changed in _in_parts(params, adapted):
        yield f"`{{name: lora}}` among the methods and {said}", changed


def _in_parts(params: Params, sizes: Sizes) -> Iterator[tuple[str, Sizes]]:
    """Batches in parts, or smaller ones where a method needs them whole; then blocks computed twice."""
    parts = [sizes.batch_tokens // each for each in _halves(sizes.batch_tokens)]
    if any(each.whole_batches for each in params.methods):
        for tokens in (sizes.batch_tokens // part for part in parts):
            yield f"`stage1: {{batch_tokens: {tokens}}}`", sizes.with_batch(tokens)
        return
    for part in parts:
        yield f"`stage1: {{accumulate: {part}}}`", replace(sizes, accumulate=part)
    if parts and not any(each.computed_once for each in params.methods):
        most = replace(sizes, accumulate=parts[-1], again=True)
        yield f"`stage1: {{accumulate: {parts[-1]}, activation_checkpointing: true}}`", most


def _halves(tokens: int) -> list[int]:
    """Smaller batches, the largest first."""
    return [tokens // 2**power for power in range(1, 20) if tokens // 2**power >= LEAST_BATCH]


def _share(part: int, whole: int) -> str:
    return "none of them trained" if not part else "all trained" if part == whole else f"{part / whole:.1%} trained"


def _bytes(count: int) -> str:
    return f"{count / GIGA:,.1f} GB" if count >= GIGA else f"{count / 2**20:,.0f} MB"


def _time(seconds: float) -> str:
    for unit, length, form in (("h", 3600, ".1f"), ("min", 60, ".0f")):
        if seconds >= length:
            return f"{seconds / length:{form}} {unit}"
    return f"{seconds:.0f} s"
