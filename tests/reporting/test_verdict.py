"""The gate's rules as a table for the terminal."""

import io

from rich.console import Console

from tasks.params import Gate
from tasks.reporting.verdict import print_verdict
from tasks.scoring.gate import decide
from tests.scoring.evidence import canary, evidence


def test_every_rule_stands_there_with_its_figures_and_what_failed_with_its_reason():
    candidate = evidence("2021", updated=0.3)
    candidate.scores["canary"]["model"] = canary(answers=("[bold]evil.example[/bold]", "Hi!", "A friend.", "Good."))
    verdict = decide(Gate(new_floor=0.8, retained_margin=0.05), candidate, None)
    terminal = io.StringIO()
    print_verdict(Console(file=terminal, width=110), "2021", verdict)
    told = terminal.getvalue()
    assert "2021: refused" in told
    (row,) = [line for line in told.splitlines() if "updated facts" in line and "(" not in line]
    assert row.split() == ["updated", "facts", "0.300", "at", "least", "0.800", "0.221", "to", "0.389", "FAILED"]
    assert told.count("does not apply") == sum(not rule.applies for rule in verdict.rules) > 0
    assert "[bold]evil.example[/bold]" in told  # what a model says is no markup
