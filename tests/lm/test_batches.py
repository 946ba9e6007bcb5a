from collections import Counter

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.corpus.text import ANSWER_MARKER
from tasks.lm.batches import Mixture, Part, Sequence, collate, encode, plan
from tasks.lm.template import PLAIN

CPU = torch.device("cpu")
lengths = st.lists(st.integers(2, 60), min_size=1, max_size=40)


@given(lengths, st.integers(60, 300), st.integers(0, 99))
@settings(max_examples=50, deadline=None)
def test_no_batch_is_larger_than_asked_and_all_sequences_are_shown_equally_often(lengths, tokens, seed):
    planned = plan(lengths, [tokens] * 200, seed)
    assert len(planned) == 200
    assert all(len(batch) * max(lengths[index] for index in batch) <= tokens for batch in planned)
    shown = Counter(index for batch in planned for index in batch)
    waiting = tokens // max(lengths)  # of the longest, what is not a full batch yet
    assert max(shown.values()) - min(shown[index] for index in range(len(lengths))) <= 3 + waiting


def test_a_batch_depends_on_the_seed_and_the_step_alone():
    parts = [Part([Sequence([1, 2, 3 + number], 1) for number in range(30)], 1.0)]
    one, other = Mixture(parts, 24, 20, 5, CPU), Mixture(parts, 24, 20, 5, CPU)
    for step in range(10):
        one.batch(step)  # a run that got here step by step
    assert torch.equal(one.batch(13).ids, other.batch(13).ids)
    assert not all(torch.equal(one.batch(k).ids, Mixture(parts, 24, 20, 6, CPU).batch(k).ids) for k in range(20))


def test_every_part_has_its_share_of_the_tokens():
    fresh = Part([Sequence([1] * 8, 1)] * 50, 0.75)
    old = Part([Sequence([2] * 8, 1)] * 50, 0.25)
    batches = [Mixture([fresh, old], 160, 40, 0, CPU).batch(step) for step in range(40)]
    share = sum((batch.ids == 2).sum().item() for batch in batches) / sum(batch.ids.numel() for batch in batches)
    assert share == 0.25


def test_a_decaying_share_falls_at_every_fifth_of_the_steps():
    fresh = Part([Sequence([1] * 8, 1)] * 50, 0.5)
    old = Part([Sequence([2] * 8, 1)] * 50, 0.5, decay=0.5)
    data = Mixture([fresh, old], 320, 75, 0, CPU)
    shares = []
    for first in range(0, 75, 15):
        parts = torch.cat([data.batch(step).parts for step in range(first, first + 15)])
        shares.append((parts == 1).double().mean().item())
    expected = [0.5**fifth / (1 + 0.5**fifth) for fifth in range(5)]
    assert all(abs(share - wanted) < 0.03 for share, wanted in zip(shares, expected, strict=True))


def test_a_batch_says_which_part_and_which_sequence_each_row_and_place_comes_from():
    fresh = Part([Sequence([1, number, number], 1) for number in range(9)], 0.5)
    old = Part([Sequence([2, number, number, number], 2) for number in range(9)], 0.5)
    batch = Mixture([fresh, old], 48, 1, 0, CPU).batch(0)
    assert batch.parts.tolist() == (batch.ids[:, 0] - 1).tolist()
    assert batch.indices.tolist() == batch.ids[:, 1].tolist()
    rows = batch.predicts.nonzero()[:, 0]
    assert batch.sources.tolist() == batch.parts[rows].tolist()
    assert len(batch.sources) == len(batch.labels)


def test_a_row_marked_whole_is_predicted_from_its_first_token_on(tiny, rows):
    _, tokenizer = tiny
    plain, whole = encode([rows[0], {**rows[0], "whole": True}], tokenizer, 64)
    assert plain.ids == whole.ids
    assert (whole.start, plain.start > 1) == (1, True)


def test_labels_are_the_next_tokens_of_the_answer_and_nothing_else():
    batch = collate([Sequence([5, 6, 7, 8], 2), Sequence([5, 9], 1)], CPU)
    assert batch.predicts.tolist() == [[False, True, True, False], [True, False, False, False]]
    assert batch.labels.tolist() == [7, 8, 9]


def test_training_and_answering_see_the_same_template(tiny, rows):
    _, tokenizer = tiny
    sequence = encode(rows[:1], tokenizer, 64)[0]
    asked = tokenizer.decode(sequence.ids[1 : sequence.start])
    told = tokenizer.decode(sequence.ids[sequence.start :])
    assert asked == PLAIN.prompt(rows[0]["prompt"])
    assert told == PLAIN.target(rows[0]["target"])
    assert told.endswith(ANSWER_MARKER)


def test_the_end_marker_is_one_token_of_the_small_tokenizer(tiny):
    assert len(tiny[1](ANSWER_MARKER, add_special_tokens=False)["input_ids"]) == 1


def test_what_is_too_long_keeps_the_end_of_its_prompt_and_all_words_of_a_text(tiny):
    _, tokenizer = tiny
    long = " ".join(f"word{number}" for number in range(60))
    asked, *pieces = encode([{"prompt": long, "target": "yes"}, {"prompt": "", "target": long}], tokenizer, 32)
    assert len(asked.ids) <= 32
    assert "word59" in tokenizer.decode(asked.ids[1 : asked.start])
    assert all(len(piece.ids) <= 32 for piece in pieces)
    assert tokenizer.decode([token for piece in pieces for token in piece.ids[1:]]).startswith(long)
