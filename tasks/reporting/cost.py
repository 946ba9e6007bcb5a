"""What the steps cost where they ran: a page of its own, since it is another one on every machine and every time."""

from pathlib import Path

from tasks import artifact
from tasks.reporting.page import picture, whole_page
from tasks.reporting.plots import Seconds, draw_seconds
from tasks.reporting.summary import WORDS

PICTURE = "seconds.png"
TEXT = (
    "Seconds of computing per slice, of the steps that ran on this machine; what was restored is as it last ran here. "
    "Training takes the same number of steps for every slice, however many came before; the grey part is only there to "
    "compare with."
)


def write_cost_page(cost: Path, timeline: Path, page: Path) -> None:
    """Draw what lies in `cost` into a page that is complete in itself.

    Args:
        cost: <slice>/<step>.json, as the steps leave them.
        timeline: reports/timeline.json, which names the slices in their order.
        page: where to write.
    """
    told = artifact.read_json(timeline)
    costs = {path: artifact.read_json(path) for path in sorted(cost.glob("*/*.json"))}
    seconds: Seconds = {}
    for path, each in costs.items():
        seconds.setdefault(path.parent.name, {})[path.stem] = each["seconds"]
    draw_seconds(seconds, told, cost / PICTURE)
    minutes = sum(each["seconds"] for each in costs.values()) / 60
    memory = max(each["peak_memory_mb"] for each in costs.values()) / 1024
    parts = [
        picture(cost / PICTURE, "What it cost", TEXT.replace("slice", WORDS[told["kind"]])),
        f'<p class="soft">{minutes:.1f} minutes in all, at most {memory:.1f} GiB of memory.</p>',
        '<footer>The report: <a href="index.html">index.html</a>.</footer>',
    ]
    artifact.write_file(page, whole_page("Perennial, what it cost", parts).encode())
