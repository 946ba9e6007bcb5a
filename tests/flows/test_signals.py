"""A signal whose exception somebody catches still ends the run, before the next stage."""

import os
import signal
from contextlib import suppress

import pytest

from flows import signals, walk
from flows.isolation import run_isolated
from tests.flows.conftest import run


@pytest.fixture(autouse=True)
def as_before(monkeypatch):
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    monkeypatch.setattr(signals, "_received", 0)
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(("number", "raised"), [(signal.SIGTERM, SystemExit), (signal.SIGINT, KeyboardInterrupt)])
def test_what_a_library_catches_ends_the_run_before_the_next_stage(project, monkeypatch, number, raised):
    brought = []

    def caught(graph, stage, *rest):
        brought.append(stage.addressing)
        with suppress(BaseException):
            os.kill(os.getpid(), number)
            signal.pause()
        return "cached"

    signal.signal(signal.SIGINT, signal.default_int_handler)
    signals.heed()
    monkeypatch.setattr(walk, "update_stage", caught)
    with pytest.raises(raised) as ended:
        run(project)
    assert len(brought) == 1
    assert raised is KeyboardInterrupt or ended.value.code == 128 + number
    with pytest.raises(raised):
        run_isolated(["dataset"], project, None)  # nor does a process of its own begin


def test_a_background_job_goes_on_ignoring_ctrl_c():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signals.heed()
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    signals.end_if_told()
