"""Sends what a step logs to MLflow while it trains, from a thread, so that training never waits for it."""

import queue
import sys
import threading
import time
from types import TracebackType
from typing import Any

from tasks.registry.store import TRAINING, Unreachable, connect, experiment, find_runs

WAITING = 10_000  # values that may wait; what comes then is dropped rather than waited for
BATCH = 200
PAUSE = 0.5  # seconds between sends
GOODBYE = 10.0  # seconds that the end of a step waits for the last values

Row = tuple[int, dict[str, float], int]


class Live:
    """One MLflow run for one step; a run of the same key that a kill left behind is continued.

    Args:
        name: what the run is called, such as `stage1 2022`.
        key: what the step is made of (see tasks/steps.py).
        settings: logged as parameters.
    """

    def __init__(self, name: str, key: str, settings: dict[str, Any]):
        self.name, self.key, self.settings = name, key, settings
        self.rows: queue.Queue[Row | None] = queue.Queue(WAITING)
        self.status = "FINISHED"
        self.thread = threading.Thread(target=self._send_all, name="mlflow-live", daemon=True)

    def __enter__(self) -> "Live":
        self.thread.start()
        return self

    def __call__(self, step: int, values: dict[str, float]) -> None:
        """Queue a step's values; takes microseconds, whatever the server does."""
        try:
            self.rows.put_nowait((step, dict(values), int(time.time() * 1000)))
        except queue.Full:
            return

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.status = "FAILED" if kind else "FINISHED"
        try:
            self.rows.put(None, timeout=1.0)
        except queue.Full:
            return  # the server is stuck; the thread is a daemon
        self.thread.join(GOODBYE)

    def _send_all(self) -> None:
        from mlflow.exceptions import MlflowException

        try:
            self._send()
        except (Unreachable, MlflowException, OSError) as error:
            reason = str(error).split("\n")[0]
            print(f"Warning: {self.name} is not seen live in MLflow. {reason}", file=sys.stderr)
            while self.rows.get() is not None:  # the rest is for nobody
                pass

    def _send(self) -> None:
        from mlflow.entities import Metric, Param

        client = connect()
        run_id = self._run(client)
        settings = {f"{section}.{name}": value for section, name, value in _flat(self.settings)}
        client.log_batch(run_id, params=[Param(name, str(value)[:500]) for name, value in settings.items()])
        ended = False
        while not ended:
            rows, ended = self._waiting_rows()
            metrics = [Metric(name, value, at, step) for step, values, at in rows for name, value in values.items()]
            for start in range(0, len(metrics), BATCH):
                client.log_batch(run_id, metrics=metrics[start : start + BATCH])
            if not ended:
                time.sleep(PAUSE)
        client.set_terminated(run_id, status=self.status)

    def _run(self, client: Any) -> str:
        training = experiment(client, TRAINING)
        for left in find_runs(client, training, perennial__key=self.key):
            if left.info.status == "RUNNING":
                return str(left.info.run_id)
        made = client.create_run(training, run_name=self.name, tags={"perennial.key": self.key})
        return str(made.info.run_id)

    def _waiting_rows(self) -> tuple[list[Row], bool]:
        rows: list[Row] = []
        first = self.rows.get()
        while first is not None:
            rows.append(first)
            if self.rows.empty():
                return rows, False
            first = self.rows.get()
        return rows, True


def _flat(settings: dict[str, Any]) -> list[tuple[str, str, Any]]:
    """(section, parameter, value); a list or a number stands for itself."""
    return [
        (section, name, value)
        for section, values in settings.items()
        for name, value in (values.model_dump().items() if hasattr(values, "model_dump") else [("value", values)])
    ]
