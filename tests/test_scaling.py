"""The arithmetic of docs/scaling.md, from the settings and limits of the code: what is no longer true fails."""

from pathlib import Path

import pytest

from tasks.lm.solved.solution import SKETCH
from tasks.lm.solved.sums import MOST_PLACES
from tasks.solved_params import Solved

PAGE = " ".join((Path(__file__).parents[1] / "docs/scaling.md").read_text(encoding="utf-8").split())
SETTINGS = Solved()
K, WIDTH = SETTINGS.codes, SETTINGS.width
LARGEST = Solved.model_json_schema()["properties"]["width"]["maximum"]
FACTS, WEIGHTS, HIDDEN = 10**7, 7e9, 4096
PLACES, TOKENS, FEATURES = 34, 25, WIDTH / 511  # a fact, a question, and a fact again: measured
CORE, GPU = 25e9, 4e14  # operations a second: of a solve, measured; assumed
ROW, READ = 2900, 1e4  # bytes a row, rows a second: measured


def said(value):
    """So many bytes."""
    for power, name in ((15, "PB"), (12, "TB"), (9, "GB")):
        if value >= 10**power:
            return f"{value / 10**power:,.3g} {name}"
    return f"{value / 10**6:.3g} MB"


def operations(value):
    mantissa, power = f"{value:.1e}".split("e")
    return f"{mantissa}·10^{int(power)}"


def solving(width):
    return width**3 / 3 + 2 * width**2 * K + width**2 * SKETCH


def column(width):
    """What memories of so many features take for all facts, and one of them."""
    memories, places = FACTS * FEATURES / width, width / FEATURES * PLACES
    wide = places > MOST_PLACES
    gram, cross = width**2 / 2 * (8 if wide else 4), width * K * (8 if wide else 4)
    answering = width * (K + SKETCH) * 2
    return {
        "features": f"{width:,.0f}",
        "facts that one holds": f"{width / FEATURES:,.0f}",
        "memories": f"{memories:,.0f}",
        "places in one": f"{places:,.0f}",
        "bits of a number": "64" if wide else "32",
        "G of one": said(gram),
        "C of one": said(cross),
        "what answers of one": said(answering),
        "all sums": said((gram + cross) * memories),
        "all that answers": said(answering * memories),
        "operations to solve one": operations(solving(width)),
        "operations to solve all": operations(solving(width) * memories),
        "memory while solving one": said((36 if wide else 30) * width**2 + 24 * width * K),
    }


COLUMNS = [column(width) for width in (WIDTH, LARGEST, FACTS * FEATURES)]
ROWS = [f"| {name} | {' | '.join(each[name] for each in COLUMNS)} |" for name in COLUMNS[0]]
SEEN, FORWARD, HOURS = SETTINGS.layers * HIDDEN + SETTINGS.grams, 2 * WEIGHTS * TOKENS, 3600
ROWS += [
    f"| forward pass | {operations(FORWARD)} | {operations(FORWARD)} |",
    f"| features, 2 x {SEEN:,} *D* | {operations(2 * SEEN * WIDTH)} | {operations(2 * SEEN * LARGEST)} |",
    f"| sums, 2 *D* (*D* + *K*) | {operations(2 * WIDTH * (WIDTH + K))} | {operations(2 * LARGEST * (LARGEST + K))} |",
]
WHOLE, SMALL = FACTS * PLACES * FORWARD / GPU / HOURS, FACTS * FEATURES / WIDTH
SENTENCES = [
    f"32 bits up to {MOST_PLACES:,} places, {MOST_PLACES // PLACES:,} such facts",
    f"{operations(FACTS * PLACES * FORWARD)} operations for all facts",
    f"{WHOLE:.0f} hours, or {WHOLE / 64:.1f} with 64 of them",
    f"{(1e12 / 36) ** 0.5:,.0f} features at once, {(1e12 / 36) ** 0.5 / FEATURES:,.0f} facts",
    f"{solving(WIDTH) * SMALL / CORE / HOURS:.1f} hours of such a core at {WIDTH:,} features",
    f"{solving(LARGEST) * FACTS * FEATURES / LARGEST / CORE / HOURS / 24:.0f} days at {LARGEST:,}",
    f"{said(FACTS * PLACES * ROW)} and {FACTS * PLACES / READ / HOURS:.0f} hours",
]


@pytest.mark.parametrize("line", [*ROWS, *SENTENCES])
def test_the_page_says_what_the_formulas_give(line):
    assert line in PAGE
