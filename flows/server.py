"""The Prefect server that the user has, if any: named by Prefect's own settings, asked by Prefect's own client.

A run needs none and starts none (docs/decisions/015-a-run-needs-no-server.md). Where PREFECT_API_URL, a profile, a .env
or a prefect.toml names one, what `perennial` does is shown there as a flow run, step by step.
"""

import os
from collections.abc import Callable

from rich.console import Console

from flows.progress import warn
from tasks.errors import reason_of, without_password

SETTINGS = {
    "PREFECT_LOGGING_LEVEL": "CRITICAL",  # errors are told once, by the command line
    "PREFECT_LOGGING_INTERNAL_LEVEL": "CRITICAL",
    "PREFECT_CLIENT_MAX_RETRIES": "2",  # a server that dies on the way costs seconds then, and not minutes
}
PATIENCE = 10.0  # seconds for the server to answer, on a busy machine, too
REFUSALS = (401, 403)


class NoAnswer(Exception):
    """The server that the settings name does not answer, or not to us; the text says why."""


def through_prefect(
    flow: Callable[[], None], console: Console, verbose: bool = False, ours: Callable[[], bool] = lambda: False
) -> bool:
    """Call a flow, if the user has a Prefect server.

    Args:
        flow: is called while Prefect talks to that server.
        console: is told why the work goes on without Prefect, where it should not have to.
        verbose: show Prefect's own log.
        ours: whether an error was one of the work itself. It is raised; one of Prefect's is told.

    Returns:
        Whether the flow has done the work. If not, what is left of it is to be done without Prefect.
    """
    for name, value in SETTINGS.items():  # read when prefect is imported
        os.environ.setdefault(name, "INFO" if verbose and "LEVEL" in name else value)
    try:
        if not (address := _address()):
            return False
        from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

        _ask(address)
        with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):  # joining its thread takes a second
            flow()
    except NoAnswer as error:
        warn(console, f"{error}; going on without it.")
        return False
    except Exception as error:
        if ours():
            raise
        warn(console, f"Prefect failed ({reason_of(error)}); going on without it.")
        return False
    return True


def _address() -> str | None:
    from prefect.settings import get_current_settings

    return get_current_settings().api.url


def _ask(address: str) -> None:
    """Ask for something that the flow will need: unlike its health a server tells that only to those it knows.

    Raises:
        NoAnswer: it does not answer, or refuses.
    """
    from prefect import get_client
    from prefect.exceptions import PrefectHTTPStatusError
    from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings

    shown = without_password(address)
    try:
        with (
            temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}),
            get_client(httpx_settings={"timeout": PATIENCE}, sync_client=True) as client,
        ):
            client.read_flow_runs(limit=1)
    except Exception as error:  # of the network, of TLS, of a version, or an answer that is none of Prefect's
        if isinstance(error, PrefectHTTPStatusError) and error.response.status_code in REFUSALS:
            settings = "PREFECT_API_AUTH_STRING or PREFECT_API_KEY"
            raise NoAnswer(f"The Prefect server at {shown} refuses the log-in: set {settings}") from error
        raise NoAnswer(f"No Prefect server answers at {shown} ({reason_of(error.__cause__ or error)})") from error
