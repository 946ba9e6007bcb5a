"""Evaluation asks no model twice, where two of those that it compares are one."""

from collections import Counter

from tasks import evaluate as evaluating
from tasks.evaluate import evaluate
from tests.every_step import EVALUATE


def test_a_model_that_was_handed_on_is_asked_once_and_scored_the_same(whole, tmp_path, monkeypatch):
    asked, ask = Counter(), evaluating.exact_matches

    def counted(model, tokenizer, rows, batch_tokens):
        asked.update(
            (id(model), row["id"]) for row in rows if row["target"] != row["stale"]
        )  # for the old answer apart
        return ask(model, tokenizer, rows, batch_tokens)

    root = whole.root
    given = (EVALUATE, root / "examples/two", root / "two/lm")
    compared = (root / "two/stage1", root / "one/lm", root / "base/lm")
    monkeypatch.setattr(evaluating, "exact_matches", counted)
    evaluate(*given, tmp_path / "once", *compared)
    assert asked and max(asked.values()) == 1
    measure = evaluating.measure
    monkeypatch.setattr(evaluating, "measure", lambda *given: measure(*given[:5]))
    evaluate(*given, tmp_path / "again", *compared)
    assert max(asked.values()) == 2
    assert (tmp_path / "once/scores.json").read_text() == (tmp_path / "again/scores.json").read_text()


def test_a_first_slice_that_trained_nothing_is_its_base(whole, tmp_path, monkeypatch):
    root, models = whole.root, []
    ask = evaluating.exact_matches
    monkeypatch.setattr(evaluating, "exact_matches", lambda *given: (models.append(len(given[2])), ask(*given))[1])
    given = (EVALUATE, root / "examples/one", root / "one/lm", tmp_path / "scores", root / "base/lm")
    evaluate(*given, None, root / "base/lm")
    assert models[0] and models[2:4] == [models[0], 0] and models[4] == 0
