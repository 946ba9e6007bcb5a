import pytest

from tasks.corpus.slices import Examples
from tasks.scoring import labels
from tasks.scoring.labels import classify, label_scores, labels_of
from tasks.scoring.sampling import sample_rows


def rows(*targets):
    return [{"target": target} for target in targets]


def examples(name, *targets, tests=()):
    train = [{"kind": "example", "prompt": "?", "target": target} for target in targets]
    test = [
        {"id": f"{name}/examples/{number}", "set": kind, "prompt": f"{target} {number}", "target": target,
         "fact": None, "stale": None}
        for number, target in enumerate(tests) for kind in ("seen", "paraphrase")
    ]  # fmt: skip
    return Examples(name=name, train=train, test=test)


def test_precision_recall_and_f1_worked_out_by_hand():
    """a: 2 of 3 found, 2 of 3 said rightly; b: 1 of 2 found, 1 of 2; c: 1 of 1 found, 1 of 2."""
    expected = rows("a", "a", "a", "b", "b", "c")
    told = label_scores(expected, ["a", "a", "b", "b", "c", "c"], {"a", "b", "c"}, [1.0] * 6)
    precision = (2 / 2 + 1 / 2 + 1 / 2) / 3
    recall = (2 / 3 + 1 / 2 + 1 / 1) / 3
    f1 = (2 * 1 * (2 / 3) / (1 + 2 / 3) + 1 / 2 + 2 * 0.5 * 1 / 1.5) / 3
    assert told == pytest.approx({"precision": precision, "recall": recall, "macro_f1": f1})


def test_an_answer_that_is_no_label_is_a_miss_and_nobodys_false_positive():
    told = label_scores(rows("a", "a", "b"), ["a", "nonsense", "b"], {"a", "b"}, [1.0] * 3)
    assert told == pytest.approx({"precision": 1.0, "recall": (1 / 2 + 1) / 2, "macro_f1": (2 / 3 + 1) / 2})


def test_a_label_that_is_answered_only_wrongly_counts_as_zero_and_one_never_met_not_at_all():
    told = label_scores(rows("a", "a"), ["a", "b"], {"a", "b", "c"}, [1.0] * 2)
    assert told == pytest.approx({"precision": 1 / 2, "recall": (1 / 2 + 0) / 2, "macro_f1": (2 / 3 + 0) / 2})


def test_a_row_that_stands_for_three_counts_three_times():
    weighted = label_scores(rows("a", "a", "b"), ["a", "b", "b"], {"a", "b"}, [1.0, 3.0, 1.0])
    repeated = label_scores(rows("a", "a", "a", "a", "b"), ["a", "b", "b", "b", "b"], {"a", "b"}, [1.0] * 5)
    assert weighted == pytest.approx(repeated)


def test_targets_are_labels_if_each_is_trained_on_twice_in_the_slices_seen():
    assert labels_of([examples("s", "a", "a", "b", "b")]) == {"s": {"a", "b"}}
    assert labels_of([examples("s", "a", "b"), examples("t", "a", "b")]) == {"s": {"a", "b"}, "t": {"a", "b"}}
    assert labels_of([examples("s", "a", "a", "b", "b"), examples("t", "an answer", "another")]) == {"s": {"a", "b"}}
    assert labels_of([examples("s", "a", "a"), examples("t", "b", "b")]) == {"s": {"a"}, "t": {"b"}}


def test_one_label_alone_or_none_is_no_classification():
    assert labels_of([examples("s", "a", "a", "a")]) == {}
    assert labels_of([Examples(name="s", train=[{"kind": "question", "target": "a"}] * 2)]) == {}


def test_the_rows_of_labelled_slices_are_answered_and_no_others(tiny, monkeypatch):
    asked = []

    def said(model, tokenizer, messages, *_):
        asked.extend(messages)
        return ["b"] * len(messages)

    monkeypatch.setattr(labels, "answers", said)
    slices = [examples("s", "a", "a", "b", "b", tests=("a", "b")), examples("t", "one", "two", tests=("three",))]
    told = classify(*tiny, slices, sample_rows(slices, {}, 100), 256)
    assert asked == ["a 0", "b 1"]
    assert told == pytest.approx({"precision": (0 + 1 / 2) / 2, "recall": (0 + 1) / 2, "macro_f1": (0 + 2 / 3) / 2})
    assert classify(*tiny, slices[1:], sample_rows(slices[1:], {}, 100), 256) is None
