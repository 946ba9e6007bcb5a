import json
import tracemalloc

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks import artifact
from tasks.corpus.cartesian import COLUMNS, cartesian_pairs, key_similarity, memory_text
from tasks.corpus.slices import Examples
from tasks.pairs import pairs
from tasks.params import Pairs

SYNONYMS = [["좋아하는 아이돌", "좋아하는 가수"]]
LINES = [
    ("오늘 일정", "카페 방문", "나 오늘 뭐 하지?"),
    ("내일 일정", "수학 시험", "나 내일 뭐 하지?"),
    ("좋아하는 가수", "푸른고래", "노래 틀어 줘."),
    ("좋아하는 아이돌", "네온토끼", "응원봉 사 줘."),
]


def many(keys, per_key):
    return [(f"key {key}", f"value {n}", f"message {key} {n}") for key in range(keys) for n in range(per_key)]


@pytest.mark.parametrize(
    ("one", "other", "similarity"),
    [
        ("오늘 일정", "오늘 일정", 1.0),
        ("오늘 일정", "내일 일정", 0.3333),
        ("오늘 일정", "오늘 저녁 일정", 0.6667),
        ("좋아하는 아이돌", "좋아하는 가수", 1.0),
        ("좋아하는 아이돌", "좋아하는 음식", 0.3333),
        ("pet's name", "home town", 0.0),
    ],
)
def test_similarity_is_the_share_of_common_words_unless_keys_count_as_one(one, other, similarity):
    assert key_similarity(one, other, SYNONYMS) == key_similarity(other, one, SYNONYMS) == similarity


def test_the_product_has_every_ordered_pair_in_order():
    made = list(cartesian_pairs(LINES, SYNONYMS, max_rows=16, seed=1))
    expected = [
        (f"[{a[0]}: {a[1]}]", a[2], f"[{b[0]}: {b[1]}]", b[2], key_similarity(a[0], b[0], SYNONYMS))
        for a in LINES
        for b in LINES
    ]
    assert made == expected


@given(
    keys=st.lists(st.sampled_from(["a", "b", "c", "좋아하는 가수", "좋아하는 아이돌"]), min_size=1, max_size=12),
    share=st.floats(0, 1),
    seed=st.integers(0, 9),
)
def test_a_capped_product_is_part_of_the_whole_one_and_prefers_equal_keys(keys, share, seed):
    lines = [(key, str(n), f"m{n}") for n, key in enumerate(keys)]
    whole = list(cartesian_pairs(lines, SYNONYMS, len(lines) ** 2, seed))
    cap = max(1, int(share * len(whole)))
    made = list(cartesian_pairs(lines, SYNONYMS, cap, seed))

    places = [whole.index(pair) for pair in made]
    assert places == sorted(set(places)) and len(made) == cap
    equal = sum(pair[-1] == 1.0 for pair in whole)
    assert sum(pair[-1] == 1.0 for pair in made) == min(equal, cap, max(cap // 2, cap - (len(whole) - equal)))


def test_another_seed_chooses_other_pairs_and_the_same_seed_the_same():
    lines = many(keys=8, per_key=4)
    first, again, other = (list(cartesian_pairs(lines, [], 200, seed)) for seed in (1, 1, 2))
    assert first == again != other


def test_a_hundred_million_pairs_are_never_held_in_memory():
    lines = many(keys=1000, per_key=10)
    tracemalloc.start()
    made = list(cartesian_pairs(lines, [], 1000, seed=1))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(made) == 1000
    assert peak < 20 * 2**20


def save_examples(folder, previous, rows):
    memories = [{"key": key, "value": value, "message": text, "split": split} for key, value, text, split in rows]
    with artifact.writing(folder) as partial:
        Examples(memories=memories).save(partial, previous)


def test_pairs_join_all_slices_so_far_and_never_train_and_test_lines(tmp_path):
    base, one, two = (tmp_path / name for name in ("base", "2020", "2021"))
    save_examples(base, None, [])
    save_examples(one, base, [("a", "NA", "first?", "train"), ("a", "2", "second?", "test")])
    save_examples(
        two, one, [("b", "3", "null", "train"), ("b", "4", "fourth?", "test"), ("a", "NA", "first?", "train")]
    )

    pairs(Pairs(synonyms=(("a", "z"),), max_rows=100), 1, two, tmp_path / "pairs")

    train, test = (pd.read_csv(tmp_path / "pairs" / f"{s}.csv", keep_default_na=False) for s in ("train", "test"))
    assert tuple(train.columns) == tuple(test.columns) == COLUMNS
    assert set(train.memory_0) == set(train.memory_1) == {"[a: NA]", "[b: 3]"}
    assert set(train.user_prompt_1) == {"first?", "null"}
    assert set(test.memory_0) == {"[a: 2]", "[b: 4]"} and len(train) == len(test) == 4
    lines = json.loads((tmp_path / "pairs" / "lines.json").read_text())
    assert lines == {
        "train": [["a", "NA", "first?"], ["b", "3", "null"]],
        "test": [["a", "2", "second?"], ["b", "4", "fourth?"]],
        "synonyms": [["a", "z"]],
    }


def test_slices_without_memory_lines_give_tables_without_rows(tmp_path):
    save_examples(tmp_path / "base", None, [])
    save_examples(tmp_path / "2020", tmp_path / "base", [])
    pairs(Pairs(synonyms=(), max_rows=100), 1, tmp_path / "2020", tmp_path / "pairs")
    assert (tmp_path / "pairs" / "train.csv").read_text() == ",".join(COLUMNS) + "\n"


def test_a_memory_is_written_one_way():
    assert memory_text(LINES[0]) == "[오늘 일정: 카페 방문]"
