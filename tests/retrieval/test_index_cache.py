import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks import artifact
from tasks.errors import BadInput
from tasks.retrieval import index_cache
from tasks.retrieval.index_cache import UserIndex, drop

ROOT = Path(__file__).parents[2]
ENCODER = "a" * 64
ROWS = [(number, f"[key {number}: value {number}]") for number in range(1, 41)]
SAVER = """
import sys
from pathlib import Path
from tests.retrieval.test_index_cache import ROWS, Words
from tasks.retrieval.index_cache import UserIndex
index = UserIndex(Path(sys.argv[1]), "anna", "a" * 64, Words())
for number in range(10**9):
    index.current(ROWS[: 20 + number % 20])
    if number == 0:
        print("saving", flush=True)
"""


class Words:
    """An encoder that gives every text a direction of its own, and remembers what it was asked for."""

    def __init__(self):
        self.asked = []

    def __call__(self, texts):
        self.asked.append(list(texts))
        seeds = [int.from_bytes(text.encode()[:60], "big") for text in texts]
        vectors = np.stack([np.random.default_rng(seed).standard_normal(16) for seed in seeds])
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def embed():
    return Words()


def current_index(folder, user, rows, encoder, embed, kind="auto"):
    """What a process that has just started makes of the user's file."""
    return UserIndex(folder, user, encoder, embed, kind).current(rows)


def found_in(index, text):
    ids, cosines = index.search(Words()([text])[0], 1)
    return int(ids[0]) if len(ids) and cosines[0] > 0.999 else None


def test_every_row_is_found_by_its_own_text(tmp_path, embed):
    index = current_index(tmp_path, "anna", ROWS, ENCODER, embed)
    assert [found_in(index, text) for _, text in ROWS] == [id for id, _ in ROWS]


def test_the_second_time_nothing_is_embedded(tmp_path, embed):
    first = current_index(tmp_path, "anna", ROWS, ENCODER, embed)
    again = current_index(tmp_path, "anna", ROWS, ENCODER, embed)
    assert embed.asked == [[text for _, text in ROWS]]
    assert again.to_bytes() == first.to_bytes()


def test_only_what_is_new_or_reads_otherwise_is_embedded(tmp_path, embed):
    current_index(tmp_path, "anna", ROWS[:20], ENCODER, embed)
    rows = [ROWS[0], (2, "[yesterday: changed]"), *ROWS[5:21]]
    index = current_index(tmp_path, "anna", rows, ENCODER, embed)
    assert embed.asked[1:] == [["[yesterday: changed]", ROWS[20][1]]]
    assert sorted(index.ids().tolist()) == sorted(id for id, _ in rows)
    assert found_in(index, "[yesterday: changed]") == 2
    assert found_in(index, ROWS[1][1]) is None and found_in(index, ROWS[3][1]) is None


def test_a_large_file_is_not_written_for_every_new_row(tmp_path, embed):
    rows = [(number, f"[key {number}: value]") for number in range(203)]
    held = UserIndex(tmp_path, "anna", ENCODER, embed)
    held.current(rows[:200])
    before = (tmp_path / "anna.index").read_bytes()
    assert found_in(held.current(rows[:201]), rows[200][1]) == 200
    assert (tmp_path / "anna.index").read_bytes() == before
    held.current(rows)
    del embed.asked[:]
    current_index(tmp_path, "anna", rows, ENCODER, embed)
    assert embed.asked == []


@settings(max_examples=30, deadline=None)
@given(turns=st.lists(st.dictionaries(st.integers(1, 8), st.sampled_from("abcdef"), max_size=8), max_size=8))
def test_whatever_happens_to_the_rows_the_index_holds_them_and_no_others(turns, tmp_path_factory):
    folder = tmp_path_factory.mktemp("cache")
    held = UserIndex(folder, "anna", ENCODER, Words())
    for texts in turns:
        for index in (held.current(texts.items()), current_index(folder, "anna", texts.items(), ENCODER, Words())):
            assert sorted(index.ids().tolist()) == sorted(texts)
            for id, text in texts.items():
                best, cosines = index.search(Words()([text])[0], len(texts))
                assert id in best[cosines > 0.999]


def test_two_users_share_nothing(tmp_path, embed):
    anna = current_index(tmp_path, "anna", ROWS[:10], ENCODER, embed)
    berta = current_index(tmp_path, "berta", ROWS[10:20], ENCODER, embed)
    assert not set(anna.ids()) & set(berta.ids())
    assert found_in(berta, ROWS[0][1]) is None
    before = (tmp_path / "anna.index").read_bytes()
    drop(tmp_path, "berta")
    assert [path.name for path in tmp_path.iterdir()] == ["anna.index"]
    assert (tmp_path / "anna.index").read_bytes() == before


def test_another_users_file_is_not_used_even_under_ones_own_name(tmp_path, embed):
    current_index(tmp_path, "anna", ROWS, ENCODER, embed)
    (tmp_path / "anna.index").rename(tmp_path / "berta.index")
    current_index(tmp_path, "berta", ROWS, ENCODER, embed)
    assert embed.asked == [[text for _, text in ROWS]] * 2


@pytest.mark.parametrize(("encoder", "kind"), [("b" * 64, "auto"), (ENCODER, "hnsw")])
def test_vectors_of_another_encoder_or_kind_are_made_again(tmp_path, embed, encoder, kind):
    current_index(tmp_path, "anna", ROWS, ENCODER, embed)
    index = current_index(tmp_path, "anna", ROWS, encoder, embed, kind)
    assert len(embed.asked) == 2 and len(embed.asked[1]) == len(ROWS)
    assert found_in(index, ROWS[7][1]) == 8


@settings(max_examples=60, deadline=None)
@given(place=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255))
def test_a_file_with_one_changed_byte_is_made_again(place, flip, tmp_path_factory):
    folder, embed = tmp_path_factory.mktemp("cache"), Words()
    current_index(folder, "anna", ROWS[:5], ENCODER, embed)
    sound = (folder / "anna.index").read_bytes()
    damaged = bytearray(sound)
    damaged[int(place * len(sound))] ^= flip
    (folder / "anna.index").write_bytes(damaged)
    index = current_index(folder, "anna", ROWS[:5], ENCODER, embed)
    assert len(embed.asked) == 2 and found_in(index, ROWS[2][1]) == 3
    assert (folder / "anna.index").read_bytes() == sound


@pytest.mark.parametrize("content", [b"", b"{}", b"\x00" * 5000, artifact.json_text({"a": 1}).encode()])
def test_what_is_no_index_is_made_again(tmp_path, embed, content):
    (tmp_path / "anna.index").write_bytes(content)
    assert found_in(current_index(tmp_path, "anna", ROWS, ENCODER, embed), ROWS[2][1]) == 3


def test_a_truncated_file_is_made_again(tmp_path, embed):
    current_index(tmp_path, "anna", ROWS, ENCODER, embed)
    content = (tmp_path / "anna.index").read_bytes()
    for length in range(0, len(content), 97):
        (tmp_path / "anna.index").write_bytes(content[:length])
        assert len(current_index(tmp_path, "anna", ROWS, ENCODER, embed)) == len(ROWS)
        assert (tmp_path / "anna.index").read_bytes() == content


def test_the_file_holds_neither_the_texts_nor_a_forgotten_vector(tmp_path, embed):
    current_index(tmp_path, "anna", ROWS, ENCODER, embed)
    vector = Words()([ROWS[3][1]]).tobytes()
    assert vector in (tmp_path / "anna.index").read_bytes()
    assert b"value 4" not in (tmp_path / "anna.index").read_bytes()
    current_index(tmp_path, "anna", ROWS[4:], ENCODER, embed)
    assert vector not in (tmp_path / "anna.index").read_bytes()


def test_dropping_a_user_deletes_also_what_a_killed_save_has_left(tmp_path, embed):
    current_index(tmp_path, "anna", ROWS, ENCODER, embed)
    (tmp_path / ".anna.index.partial").write_bytes(b"half")
    drop(tmp_path, "anna")
    drop(tmp_path, "anna")
    assert list(tmp_path.iterdir()) == []


def test_where_nothing_can_be_saved_the_answers_are_right_and_nothing_forgotten_stays(tmp_path, embed, monkeypatch):
    held = UserIndex(tmp_path, "anna", ENCODER, embed)
    held.current(ROWS)

    def full(path, content):
        raise OSError("no space left on device")

    monkeypatch.setattr(index_cache.artifact, "write_file", full)
    index = held.current(ROWS[1:])
    assert found_in(index, ROWS[0][1]) is None and found_in(index, ROWS[1][1]) == 2
    assert list(tmp_path.iterdir()) == []


def test_a_failed_embedding_changes_nothing(tmp_path, embed):
    class Breaks(Words):
        def __call__(self, texts):
            if "[new: x]" in texts:
                raise RuntimeError
            return super().__call__(texts)

    held = UserIndex(tmp_path, "anna", ENCODER, Breaks())
    held.current(ROWS)
    with pytest.raises(RuntimeError):
        held.current([*ROWS[1:], (99, "[new: x]")])
    index = held.current(ROWS[1:])
    assert sorted(index.ids().tolist()) == [id for id, _ in ROWS[1:]]


@pytest.mark.parametrize("user", ["../anna", "", "a/b", ".hidden"])
def test_a_users_name_that_is_a_path_is_refused(tmp_path, embed, user):
    with pytest.raises(BadInput):
        current_index(tmp_path, user, ROWS, ENCODER, embed)
    with pytest.raises(BadInput):
        drop(tmp_path, user)


def test_others_on_the_machine_may_not_list_the_indexes(tmp_path, embed):
    current_index(tmp_path / "indexes", "anna", ROWS, ENCODER, embed)
    assert (tmp_path / "indexes").stat().st_mode & 0o077 == 0


def test_the_same_rows_give_the_same_bytes(tmp_path, embed):
    for name in ("one", "two"):
        current_index(tmp_path / name, "anna", ROWS, ENCODER, embed)
    assert (tmp_path / "one/anna.index").read_bytes() == (tmp_path / "two/anna.index").read_bytes()


def test_killed_at_any_moment_of_a_save_the_file_is_a_whole_one(tmp_path):
    random = np.random.default_rng(6)
    for _ in range(6):
        process = subprocess.Popen(
            [sys.executable, "-c", SAVER, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        assert process.stdout.readline() == b"saving\n"
        time.sleep(random.uniform(0.05, 0.3))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        embed = Words()
        assert len(current_index(tmp_path, "anna", ROWS, ENCODER, embed)) == len(ROWS)
        assert ROWS[0][1] not in sum(embed.asked, [])  # it was never made from nothing
