"""Sends what a step logs to MLflow while it trains, from a thread, so that training never waits for it."""

import queue
import sys
import threading
import time
from types import TracebackType
from typing import Any

from tasks.errors import reason_of
from tasks.registry import runs, store
from tasks.registry.store import Names

WAITING = 10_000  # values that may wait; what comes then is dropped rather than waited for
BATCH = 200
PAUSE = 0.5  # seconds between sends
GOODBYE = 5.0  # seconds that the end of a step waits for the last values
KEY_TAG = "perennial.key"

Row = tuple[int, dict[str, float], int]

_silent: set[str] = set()  # stores that did not answer: a process asks and warns once


class Live:
    """One MLflow run for one step; a run of the same key that a kill left behind is continued.

    Args:
        name: what the run is called, such as `stage1 2022`.
        key: what the step is made of (see tasks/steps.py).
        settings: logged as parameters.
        names: of the project in MLflow.
    """

    def __init__(self, name: str, key: str, settings: dict[str, Any], names: Names):
        self.name, self.key, self.settings, self.names = name, key, settings, names
        self.rows: queue.Queue[Row | None] = queue.Queue(WAITING)
        self.ending = threading.Event()
        self.status = "FINISHED"
        self.thread = threading.Thread(target=self._send_all, name="mlflow-live", daemon=True)

    def __enter__(self) -> "Live":
        if store.tracking_uri() not in _silent:
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
        self.ending.set()
        while self.rows.full():  # the server is slow or gone: the newest values give way
            self.rows.get_nowait()
        self.rows.put(None)
        if self.thread.ident:
            self.thread.join(GOODBYE)

    def _send_all(self) -> None:
        # mlflow is imported beside the training, but not before the first value: until then the step
        # imports its own libraries, and two threads in one half-imported package see half of it
        first = self.rows.get()
        from mlflow.exceptions import MlflowException

        try:
            self._send(first)
        except (store.Unreachable, MlflowException, OSError) as error:
            _silent.add(store.tracking_uri())
            print(f"Warning: {self.name} is not seen live in MLflow. {reason_of(error)}.", file=sys.stderr)

    def _send(self, first: Row | None) -> None:
        from mlflow.entities import Metric

        client = store.connect()
        run_id = self._run(client)
        runs.log_params(client, run_id, self.settings)
        rows, ended = self._waiting_rows([first])
        while True:
            metrics = [Metric(name, value, at, step) for step, values, at in rows for name, value in values.items()]
            for start in range(0, len(metrics), BATCH):
                client.log_batch(run_id, metrics=metrics[start : start + BATCH])
            if ended:
                break
            self.ending.wait(PAUSE)
            rows, ended = self._waiting_rows([self.rows.get()])
        client.set_terminated(run_id, status=self.status)

    def _run(self, client: Any) -> str:
        training = store.experiment(client, self.names.training)
        for left in store.find_runs(client, training, {KEY_TAG: self.key}):
            if left.info.status == "RUNNING":
                return str(left.info.run_id)
        tags = {KEY_TAG: self.key, **store.at_work()}
        return str(client.create_run(training, run_name=self.name, tags=tags).info.run_id)

    def _waiting_rows(self, taken: list[Row | None]) -> tuple[list[Row], bool]:
        """What waits in the queue after what was taken, and whether the step has ended."""
        while taken[-1] is not None and not self.rows.empty():
            taken.append(self.rows.get())
        return [row for row in taken if row is not None], taken[-1] is None
