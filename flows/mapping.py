"""The Prefect flow of `perennial methods`: a task for what a seed's entries share, then one for each entry and seed.

Prefect schedules, shows and keeps the history; what is finished is decided by each slice's key alone, so no result is
kept or cached here.
"""

from contextvars import ContextVar
from typing import Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.futures import wait
from prefect.states import Completed, Failed
from prefect.task_runners import ThreadPoolTaskRunner

from flows.comparing import Comparing
from flows.timeline import bury_the_dead

_comparing: ContextVar[Comparing] = ContextVar("comparing")


@task(name="first", task_run_name="first {seed}", retries=0, cache_policy=NO_CACHE, persist_result=False)
def first(seed: int) -> State:
    """Bring what all entries of a seed start from up to date."""
    return _state(_comparing.get().share(seed))


@task(name="entry", task_run_name="{name} {seed}", retries=0, cache_policy=NO_CACHE, persist_result=False)
def entry(name: str, seed: int) -> State:
    """Take the timeline through one entry of the comparison."""
    return _state(_comparing.get().take(name, seed))


@flow(name="methods", retries=0, persist_result=False)
def methods(folder: str) -> State:
    """Take the timeline through every method, for every seed.

    Args:
        folder: the project's; the dead runs of this folder are found by it.
    """
    comparing = _comparing.get()
    bury_the_dead()
    try:
        wait(first.map(comparing.seeds))
        names, seeds = zip(*comparing.pairs, strict=True)
        wait(entry.map(list(names), list(seeds)))
    except BaseException:  # Ctrl-C reaches this thread only
        comparing.stop()
        raise
    failed = len(comparing.failed)
    return Completed(message=f"{failed} of {len(names)} failed" if failed else None)


def compare_with_prefect(comparing: Comparing) -> None:
    """Call the flow; an entry that fails is noted in `comparing` and stops no other."""
    token = _comparing.set(comparing)
    runner: Any = ThreadPoolTaskRunner(max_workers=comparing.params.comparison.processes)
    try:
        methods.with_options(task_runner=runner)(str(comparing.root.resolve()))
    finally:
        _comparing.reset(token)


def _state(reason: str | None) -> State:
    return Failed(message=reason) if reason else Completed()
