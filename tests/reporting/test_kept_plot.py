"""The picture of entries that keep no old row."""

from tasks.reporting.kept_plot import KEPT, draw_kept


def entry(keep, share):
    return {"keep": keep, "family": "baselines", "mean": {"accuracy": share}, "spread": {"accuracy": None}}


def test_it_is_drawn_once_there_is_something_to_compare(tmp_path):
    entries = {"joint": entry("all", 1.0), "naive": entry("none", 0.2), "l2": {**entry("none", 0.3), "mean": None}}
    comparison = {"entries": entries, "bound": "joint", "default": None}
    draw_kept(comparison, tmp_path)
    assert not list(tmp_path.iterdir())
    entries["l2"] = entry("none", 0.3)
    draw_kept(comparison, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [KEPT]
