"""Ctrl-C and a polite kill end the run, though a library catches what they raise in it."""

import signal
from typing import NoReturn

_received = 0


def heed() -> None:
    """From now on a signal is remembered, and then raised: SystemExit for a kill, KeyboardInterrupt for Ctrl-C."""
    signal.signal(signal.SIGTERM, _end)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # a background job ignores Ctrl-C
        signal.signal(signal.SIGINT, _end)


def end_if_told() -> None:
    """Raise again what a signal has raised: who is still here did not let it through."""
    if _received:
        raise _end_of(_received)


def _end(number: int, frame: object) -> NoReturn:
    """Unwinds, so that the run is noted, and ends what it started."""
    global _received  # noqa: PLW0603
    _received = number
    raise _end_of(number)


def _end_of(number: int) -> BaseException:
    return KeyboardInterrupt() if number == signal.SIGINT else SystemExit(128 + number)
