"""The whole timeline in one file of figures, a page and its pictures."""

from pathlib import Path

import pandas as pd

from tasks import artifact
from tasks.params import Kind
from tasks.reporting.page import render_page
from tasks.reporting.plots import draw_plots
from tasks.scoring.timeline import OF_THE_DEFAULT, gather_timeline, read_scores

SCATTER = "scatter.csv"


def report(evaluation: Path, plots: Path, page: Path, out: Path, kind: Kind = "time") -> None:
    """Gather the scores of all slices; write timeline.json (`out`), the plots, and a self-contained page.

    Raises:
        BadInput: there are no scores, or one is missing.
    """
    scores, naive = read_scores(evaluation, OF_THE_DEFAULT), read_scores(evaluation / "naive")
    timeline = gather_timeline(scores, naive, kind)
    points = evaluation / timeline["slices"][-1] / SCATTER
    scatter = pd.read_csv(points) if points.exists() else None
    with artifact.writing(plots) as folder:
        draw_plots(timeline, scatter, folder)
    samples = [sample for each in scores[-1:] for sample in each["samples"]]
    artifact.write_file(page, render_page(timeline, samples, plots).encode())
    artifact.write_file(out, artifact.json_text(timeline).encode())
