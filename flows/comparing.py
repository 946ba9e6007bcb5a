"""A comparison at work: what is done and what failed; each entry of a seed runs in a process of its own."""

import json
import threading
from dataclasses import dataclass, field
from pathlib import Path

from rich.markup import escape

from flows.isolation import end_all, run_isolated
from flows.progress import Progress
from tasks.errors import OutOfReach, PerennialError
from tasks.params import Params

EXAMPLES = Path("data/examples")
WORK = Path(".perennial/comparison")
MODULE = "tasks.comparison"
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
STOPPED = "It was stopped."

Pair = tuple[str, int]


@dataclass
class Comparing:
    """A comparison at work: what is to be done, and what failed so far."""

    root: Path
    params: Params
    lock: int
    progress: Progress
    pairs: list[Pair]
    failed: dict[Pair, str] = field(default_factory=dict)
    done: set[Pair] = field(default_factory=set)
    _broken: dict[int, str] = field(default_factory=dict)  # seeds without a base
    _stopping: threading.Event = field(default_factory=threading.Event)

    @property
    def seeds(self) -> list[int]:
        return list(dict.fromkeys(seed for _, seed in self.pairs))

    @property
    def left(self) -> list[Pair]:
        return [pair for pair in self.pairs if pair not in self.failed and pair not in self.done]

    def share(self, seed: int) -> str | None:
        """Make what the entries of a seed share; the reason if that failed."""
        from tasks import comparison

        if comparison.has_first(self.params, seed, self.root / EXAMPLES, self.root / WORK):
            return None
        if reason := self._bring("first", seed, [], quiet=True):
            self._broken[seed] = reason
        return reason

    def take(self, name: str, seed: int) -> str | None:
        """Take the timeline through one entry; the reason if that failed."""
        reason = self._broken.get(seed) or self._bring(name, seed, [name])
        if self._stopping.is_set():
            return STOPPED
        if reason:
            self.failed[name, seed] = reason
            sentence = f"[red]{escape(f'{name}, seed {seed}: {reason}')}[/red]"
            self.progress.console.print(sentence, highlight=False, soft_wrap=True)
        else:
            self.done.add((name, seed))
        return reason

    def stop(self) -> None:
        """Start nothing any more, and end what is at work."""
        self._stopping.set()
        end_all()

    def _bring(self, name: str, seed: int, argv: list[str], quiet: bool = False) -> str | None:
        if self._stopping.is_set():
            return STOPPED
        with self.progress.step(f"{name}@{seed}") as shown:

            def on_line(line: str) -> None:
                try:
                    said = json.loads(line)
                except ValueError:  # a library's talk
                    return
                if "slice" in said:
                    shown.begin(said["slice"], said["steps"])
                elif "step" in said:
                    shown.log(said["step"], {} if said["loss"] is None else {"loss": said["loss"]})

            words = [str(EXAMPLES), str(WORK), str(seed), *argv]
            try:
                run_isolated(words, self.root, self.lock, MODULE, on_line, ONE_THREAD)
            except OutOfReach:  # no other entry could be written either
                self.stop()
                raise
            except PerennialError as error:
                shown.outcome = None if quiet or self._stopping.is_set() else "failed"
                return str(error)
            shown.outcome = None if quiet else "ran"
        return None
