import math
from collections import Counter

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.corpus.cartesian import COLUMNS, cartesian_pairs, memory_text
from tasks.corpus.topics import TopicLine
from tasks.retrieval.encoder import build_encoder, embed, two_towers
from tasks.retrieval.training import TEMPERATURE, GroupRanking, pair_rows, ranking_rows, train_encoder

WIDTH = 3
COLOURS, THINGS = [[f"{kind}{n}" for n in range(8)] for kind in ("colour", "thing")]
GRID = [TopicLine(f"{one} {other}", "x", f"{one} {other}?", one + other) for one in COLOURS for other in THINGS]


@pytest.fixture
def own(lines):
    return [TopicLine(*line, group=line[0]) for line in lines]


@pytest.fixture
def encoder(sizes, own):
    return build_encoder(sizes, sorted({text for line in own for text in (memory_text(line), line.message)}), seed=1)


def cosine(one, other):
    lengths = [math.sqrt(sum(value**2 for value in vector)) for vector in (one, other)]
    return sum(a * b for a, b in zip(one, other, strict=True)) / math.prod(lengths)


def minus_log_share(query, texts, right):
    """-log softmax(cosine / temperature), its mean over the right texts."""
    powers = [math.exp(cosine(query, text) / TEMPERATURE) for text in texts]
    logs = [math.log(power / sum(powers)) for power, fits in zip(powers, right, strict=True) if fits]
    return -sum(logs) / len(logs)


def by_hand(messages, memories, neighbours, labels):
    """The multi-positive cross entropy again, row by row."""
    rows = range(len(messages))
    own, other = zip(*labels, strict=True)
    total = 0.0
    for row in rows:
        right = [group == own[row] for group in [*own, *other]]
        total += minus_log_share(messages[row], [*memories, *neighbours], right)
        total += minus_log_share(memories[row], messages, [group == own[row] for group in own])
    return total / len(rows)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(1, 7), st.integers(1, 5))
def test_group_ranking_equals_a_double_loop(seed, rows, groups):
    generator = torch.Generator().manual_seed(seed)
    vectors = [torch.randn(rows, WIDTH, generator=generator, dtype=torch.float64) for _ in range(3)]
    labels = torch.randint(groups, (rows, 2), generator=generator)
    loss = GroupRanking(torch.nn.Identity())([{"sentence_embedding": each} for each in vectors], labels)
    assert loss.item() == pytest.approx(by_hand(*(each.tolist() for each in vectors), labels.tolist()))


def test_a_row_of_the_same_group_is_no_wrong_answer():
    message, memory = torch.tensor([[1.0, 0.0]] * 2), torch.tensor([[1.0, 0.0]] * 2)
    far = torch.tensor([[-1.0, 0.0]] * 2)

    def loss(own):
        labels = torch.tensor([[own[0], 8], [own[1], 9]])
        features = [{"sentence_embedding": each} for each in (message, memory, far)]
        return GroupRanking(torch.nn.Identity())(features, labels).item()

    assert loss([1, 2]) == pytest.approx(loss([1, 1]))  # two right ones of equal score share what one would have
    message[1] = memory[1] = torch.tensor([0.0, 1.0])
    assert loss([1, 2]) < 0.01 < loss([1, 1])  # other groups may be far apart, the same group may not


@pytest.mark.parametrize("rows", [1, 64, 100, 250])
def test_every_line_stands_as_often_as_any_other_give_or_take_one(rows):
    made = ranking_rows(GRID, rows, seed=3)
    counts = Counter(zip(made["message"], made["memory"], strict=True))
    assert len(made) == rows == sum(counts.values())
    assert counts.keys() <= {(line.message, memory_text(line)) for line in GRID}
    assert {counts[line.message, memory_text(line)] for line in GRID} <= {rows // 64, -(-rows // 64)}


def test_a_neighbour_has_a_word_of_the_key_and_another_group():
    made = ranking_rows(GRID, 256, seed=3)
    for memory, neighbour, (own, other) in zip(made["memory"], made["neighbour"], made["label"], strict=True):
        key, near = (text[1:].split(":")[0].split() for text in (memory, neighbour))
        assert len(set(key) & set(near)) == 1 and own != other


def test_a_line_whose_words_no_other_key_has_is_given_any_line(own):
    made = ranking_rows(own, 40, seed=3)
    assert set(made["neighbour"]) <= {memory_text(line) for line in own}
    assert any(one != other for one, other in made["label"])


def test_rows_have_the_same_label_exactly_if_their_lines_have_the_same_group(own):
    made = ranking_rows(own, 24, seed=3)
    group = {memory_text(line): line.group for line in own}
    labels = {}
    for memory, neighbour, (mine, other) in zip(made["memory"], made["neighbour"], made["label"], strict=True):
        assert labels.setdefault(group[memory], mine) == mine
        assert labels.setdefault(group[neighbour], other) == other
    assert len(set(labels.values())) == len(labels) == 3


def test_the_seed_alone_decides_the_rows(own):
    one, again, other = (ranking_rows(own, 30, seed).to_dict() for seed in (1, 1, 2))
    assert one == again != other


def test_a_pair_is_the_memory_of_one_line_and_the_message_of_the_other():
    pairs = pd.DataFrame(cartesian_pairs([("a", "1", "one?"), ("b", "2", "two?")], [], 4, 1), columns=list(COLUMNS))
    made = pair_rows(pairs)
    assert made["sentence1"][:] == ["[a: 1]", "[a: 1]", "[b: 2]", "[b: 2]"]
    assert made["sentence2"][:] == ["one?", "two?", "one?", "two?"]
    assert made["score"][:] == [1.0, 0.0, 0.0, 1.0]


def test_training_brings_messages_to_the_memories_of_their_group(encoder, sizes, own):
    logged = []
    rows = ranking_rows(own, 128, seed=1)
    train_encoder(encoder, sizes, 1, lambda step, values: logged.append((step, values)), {"ranking": rows}, epochs=10)
    cosines = embed(encoder, [line.message for line in own]) @ embed(encoder, [memory_text(line) for line in own]).T
    assert all(own[place].group == line.group for place, line in zip(cosines.argmax(1), own, strict=True))
    steps, values = zip(*logged, strict=True)
    assert list(steps) == sorted(steps) and values[-1]["loss"] < values[0]["loss"] and "learning_rate" in values[0]


def test_pairs_beside_the_rows_bring_cosines_to_the_similarities(sizes, own, lines):
    pairs = pd.DataFrame(cartesian_pairs(lines, [], 1000, 1), columns=list(COLUMNS))
    errors = []
    for beside in ({}, {"pairs": pair_rows(pairs)}):
        encoder = build_encoder(sizes, sorted({text for line in lines for text in line}), seed=1)
        train_encoder(
            encoder, sizes, 1, lambda *_: None, {"ranking": ranking_rows(own, 64, seed=1), **beside}, epochs=4
        )
        both = embed(encoder, pairs["memory_0"]) * embed(encoder, pairs["user_prompt_1"])
        errors.append(float(((both.sum(1) - pairs["similarity_score"]) ** 2).mean()))
    assert errors[1] < errors[0]


def test_two_towers_begin_alike_and_are_trained_apart(encoder, sizes, own):
    towers = two_towers(encoder)
    texts = [line.message for line in own]
    for task in ("query", "document"):
        assert np.array_equal(embed(towers, texts, task), embed(encoder, texts))
    train_encoder(towers, sizes, 1, lambda *_: None, {"ranking": ranking_rows(own, 64, seed=1)}, epochs=10)
    query, document = (embed(towers, texts, task) for task in ("query", "document"))
    assert not np.allclose(query, document, atol=0.01)
    assert not np.allclose(query, embed(encoder, texts), atol=0.01)
    assert not np.allclose(document, embed(encoder, texts), atol=0.01)
