"""Shows a run: on a terminal one live line for the step at work, elsewhere one plain line per finished step."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

VERBS = {"restored": "restored", "ran": "done", "failed": "failed"}


@dataclass
class Shown:
    """One step on the screen: what it logs, which part of it has begun and how long that is, what became of it."""

    log: Callable[[int, dict[str, float]], None]
    begin: Callable[[str, int], None]
    outcome: str | None = None


@dataclass
class Progress:
    """The screen of one run.

    Args:
        totals: how many steps a training step takes, by its name: {"stage1": 300}.
    """

    console: Console
    totals: dict[str, int] = field(default_factory=dict)
    _bars: Bars | None = None

    def __enter__(self) -> "Progress":
        if self.console.is_terminal:
            self._bars = Bars(
                SpinnerColumn(),
                TextColumn("{task.fields[name]}"),
                BarColumn(bar_width=24),
                TextColumn("[dim]{task.fields[detail]}"),
                TimeElapsedColumn(),
                console=self.console,
                transient=True,
            )
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars:
            self._bars.stop()
            self._bars = None

    @contextmanager
    def step(self, address: str) -> Iterator[Shown]:
        """Show one step from its begin to its end; a step that was up to date leaves no line."""
        total = self.totals.get(address.partition("@")[0])
        values: dict[str, float] = {}
        bar = self._bars.add_task("", total=total, name=escape(_name(address)), detail="") if self._bars else None

        def log(step: int, logged: dict[str, float]) -> None:
            values.update(logged)
            self._advance(bar, step, total, values)

        def begin(part: str, steps: int) -> None:
            nonlocal total
            total = steps
            if self._bars and bar is not None:
                self._bars.update(
                    bar, total=steps or None, completed=0, name=escape(f"{_name(address)}{part:<8}"), detail=""
                )

        shown = Shown(log, begin)
        started = time.monotonic()
        try:
            yield shown
        except Exception:
            shown.outcome = "failed"
            raise
        finally:
            if self._bars and bar is not None:
                self._bars.remove_task(bar)
            if shown.outcome in VERBS:
                self.line(address, VERBS[shown.outcome], time.monotonic() - started, values.get("loss"))

    def line(self, address: str, verb: str, seconds: float, loss: float | None = None) -> None:
        """Print the line of a finished step."""
        loss_text = f"  loss {loss:.3f}" if loss is not None else ""
        self.console.print(f"  {escape(_name(address))} {verb:<10} {seconds:6.1f} s{loss_text}", highlight=False)

    def _advance(self, bar: TaskID | None, step: int, total: int | None, values: dict[str, float]) -> None:
        if not self._bars or bar is None:
            return
        loss = f"  loss {values['loss']:.3f}" if "loss" in values else ""
        self._bars.update(bar, completed=step, detail=f"step {step}{f'/{total}' if total else ''}{loss}")


def warn(console: Console, sentence: str) -> None:
    """Print a sentence about something that the run goes on without."""
    console.print(f"[yellow]{escape(sentence)}[/yellow]", highlight=False, soft_wrap=True)


def _name(address: str) -> str:
    step, _, name = address.partition("@")
    return f"{step + ' ':<15}{name:<12}"
