import tracemalloc
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.corpus.cartesian import cartesian_pairs, graded, key_similarity, memory_text

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


@pytest.mark.parametrize(
    ("one", "other", "similarity"),
    [
        ("plan", "plan", 1.0),
        ("좋아하는 아이돌", "좋아하는 가수", 1.0),
        ("plan", "plans", 0.25),  # 3 of 6 runs of three letters
        ("Plan", "plan", 1.0),
        ("cat", "dog", 0.0),
        ("음", "으", 0.125),  # 1 of 4: <ㅇㅡ
    ],
)
def test_a_graded_similarity_is_half_the_share_of_common_letters(one, other, similarity):
    assert (
        key_similarity(one, other, SYNONYMS, "graded") == key_similarity(other, one, SYNONYMS, "graded") == similarity
    )


@given(st.text("abß 가각 ", min_size=1), st.text("abß 가각 ", min_size=1))
def test_graded_equals_a_count_of_runs_by_hand(one, other):
    runs = []
    for key in (one, other):
        letters = ["<", *unicodedata.normalize("NFKD", key), ">"]
        runs.append({tuple(letters[place : place + 3]) for place in range(len(letters) - 2)})
    share = sum(run in runs[1] for run in runs[0]) / len(runs[0] | runs[1])
    assert graded(one, other) == round(share / 2, 4) <= 0.5


def test_the_pairs_are_scored_by_the_similarity_that_is_asked_for():
    lines = [("plan", "a", "?"), ("plans", "b", "!")]
    for kind, similarity in (("graded", 0.25), ("key_words", 0.0)):
        made = cartesian_pairs(lines, [], max_rows=4, seed=1, similarity=kind)
        assert [pair[-1] for pair in made] == [1.0, similarity, similarity, 1.0]


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


def test_a_memory_is_written_one_way():
    assert memory_text(LINES[0]) == "[오늘 일정: 카페 방문]"
