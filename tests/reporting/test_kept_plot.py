"""The picture of entries that keep no old row."""

from tasks.reporting import kept_plot
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


def test_a_default_that_keeps_no_row_has_one_bar_and_each_bar_its_own_number(tmp_path, monkeypatch):
    shares = {"joint": ("all", 0.99), "naive": ("none", 0.2), "solved": ("none", 1.0), "l2": ("none", 0.3)}
    entries = {name: entry(*each) for name, each in shares.items()}
    drawn = []
    monkeypatch.setattr(kept_plot.plt, "close", drawn.append)
    draw_kept({"entries": entries, "bound": "joint", "default": "solved"}, tmp_path)
    axes = drawn[0].axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["naive", "l2", "solved", "joint"]
    assert [text.get_text() for text in axes.texts] == ["20.0", "30.0", "100.0", "99.0"]
    assert [text.get_position()[1] for text in axes.texts] == [0, 1, 2, 3]
