from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.errors import BadInput
from tasks.retrieval import pgvector
from tasks.retrieval.index import Index
from tasks.retrieval.pgvector import drop, opened
from tests.retrieval.pgvector.conftest import ANNA, BERTA, ENCODER, ROWS, WIDTH, embed, some_vectors

pytestmark = pytest.mark.server


def test_it_answers_what_a_flat_index_answers(index_of):
    vectors, ids = some_vectors(1500), np.random.default_rng(3).permutation(10**12 + np.arange(1500))
    flat = Index("flat")
    flat.add(ids, vectors)
    with index_of() as index:
        index.add(ids, vectors)
        assert len(index) == 1500
        for message in some_vectors(20, seed=2):
            (found, cosines), (truth, true_cosines) = index.search(message, 7), flat.search(message, 7)
            assert found.tolist() == truth.tolist() and np.allclose(cosines, true_cosines, atol=1e-6)
            assert found.dtype == truth.dtype and cosines.dtype == true_cosines.dtype


IDS = st.lists(st.integers(-5, 15), max_size=6, unique=True)


@settings(max_examples=15, deadline=None)
@given(steps=st.lists(st.tuples(st.booleans(), IDS), max_size=8), seed=st.integers(0, 2**16))
def test_adding_and_removing_equals_a_dictionary_whatever_another_user_has(address, steps, seed):
    drop(ANNA, address)
    with opened(ANNA, ENCODER, WIDTH, address) as index, opened(BERTA, ENCODER, WIDTH, address) as other:
        other.add(range(-5, 16), some_vectors(21, seed))
        known = {}
        for number, (adds, ids) in enumerate(steps):
            if adds:
                vectors = some_vectors(len(ids), seed + number)
                index.add(ids, vectors)
                known |= dict(zip(ids, vectors, strict=True))
            else:
                assert index.remove(ids) == len(known.keys() & set(ids))
                known = {id: vector for id, vector in known.items() if id not in ids}
            assert len(index) == len(known)
        message = some_vectors(1, seed + 99)[0]
        ranked = sorted(known, key=lambda id: (-float(known[id] @ message), id))
        assert index.search(message, 50)[0].tolist() == ranked
        assert len(other) == 21


def test_equal_vectors_come_in_the_order_of_their_ids(index_of):
    with index_of() as index:
        index.add([9, 4, 7, 1], np.repeat(some_vectors(1), 4, axis=0))
        assert index.search(some_vectors(1)[0], 3)[0].tolist() == [1, 4, 7]


def test_a_vector_of_zeros_is_as_far_as_a_right_angle(index_of):
    with index_of() as index:
        index.add([1, 2], np.stack([np.zeros(WIDTH), some_vectors(1)[0]]))
        ids, cosines = index.search(some_vectors(1)[0], 2)
        assert ids.tolist() == [2, 1] and cosines.tolist() == pytest.approx([1, 0], abs=1e-6)


def test_it_follows_the_rows_and_embeds_only_what_changed(index_of):
    asked = []

    def noted(texts):
        asked.append(texts)
        return embed(texts)

    with index_of() as index:
        index.current(ROWS, noted)
    with index_of() as index:
        index.current(ROWS, noted)
        index.current([(1, "[key 1: another]"), *ROWS[1:5]], noted)
        assert len(index) == 5
        assert index.search(embed(["[key 1: another]"])[0], 1)[0].tolist() == [1]
    assert asked == [[text for _, text in ROWS], ["[key 1: another]"]]


def test_users_whose_names_differ_in_the_last_of_64_letters_share_nothing(index_of):
    one, other = "u" * 63 + "1", "u" * 63 + "2"
    with index_of(one) as mine, index_of(other) as theirs:
        mine.current(ROWS, embed)
        assert len(theirs) == 0 and theirs.search(embed([ROWS[0][1]])[0], 5)[0].tolist() == []
        assert theirs.remove([id for id, _ in ROWS]) == 0
        assert len(mine) == len(ROWS)


def test_dropping_a_user_leaves_the_others(index_of, address):
    with index_of(ANNA) as anna, index_of(BERTA) as berta:
        for index in (anna, berta):
            index.current(ROWS, embed)
        drop(BERTA, address)
        assert len(anna) == len(ROWS)
    with index_of(BERTA) as berta:
        assert len(berta) == 0


def test_every_statement_names_the_users_own_table_and_no_other(index_of, address):
    with index_of(ANNA) as index:
        table = index._table
        index.current(ROWS, embed)
        seen = []
        ask = index._connection.execute
        index._connection.execute = lambda query, *rest: seen.append(query.as_string(None)) or ask(query, *rest)
        index.add([50], some_vectors(1))
        index.search(some_vectors(1)[0], 2)
        index.remove([50])
        index.current(ROWS[1:], embed)
        assert len(index) == len(ROWS) - 1
    assert len(seen) >= 6 and all(f'"perennial"."{table}"' in query for query in seen)
    assert all(query.count('"perennial".') == 1 for query in seen)


@pytest.mark.parametrize("user", ["x'; DROP SCHEMA perennial CASCADE; --", 'a"b', "", "../a"])
def test_a_users_name_that_is_no_name_is_refused(user, address):
    with pytest.raises(BadInput, match="can't be a user's name"), opened(user, ENCODER, WIDTH, address):
        pass


def test_an_encoders_name_is_never_read_as_sql(index_of):
    with index_of(BERTA) as berta:
        berta.current(ROWS, embed)
        with index_of(ANNA, encoder="'; DROP SCHEMA perennial CASCADE; --{table}%s") as anna:
            anna.current(ROWS, embed)
            assert len(anna) == len(berta) == len(ROWS)


@pytest.mark.parametrize(("encoder", "width"), [("b" * 64, WIDTH), (ENCODER, 8)])
def test_vectors_of_another_encoder_are_deleted(index_of, encoder, width):
    with index_of() as index:
        index.current(ROWS, embed)
    with index_of(encoder=encoder, width=width) as index:
        assert len(index) == 0


def test_a_graph_finds_95_percent_of_the_nearest_also_of_what_came_later(index_of, address):
    vectors = some_vectors(4000)
    with index_of() as index:
        index.add(range(3000), vectors[:3000])
        index.build_graph()
        index.build_graph()
        index.add(range(3000, 4000), vectors[3000:])
        index._run("SET enable_seqscan = off")  # so few vectors would be compared one by one
        plan = index._run("EXPLAIN " + pgvector.SEARCH, vector=vectors[0], k=10).fetchall()
        assert any(f"{index._table}_graph" in line for (line,) in plan)
        shares = []
        for message in some_vectors(50, seed=5):
            truth = set(np.argsort(-(vectors @ message))[:10].tolist())
            shares.append(len(truth & set(index.search(message, 10)[0].tolist())) / 10)
    assert np.mean(shares) >= 0.95


def test_many_who_open_a_new_users_table_at_once_get_the_same_one(address):
    def fill(number):
        with opened(ANNA, ENCODER, WIDTH, address) as index:
            index.add([number], some_vectors(1))

    drop(ANNA, address)
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(fill, range(6)))
    with opened(ANNA, ENCODER, WIDTH, address) as index:
        assert len(index) == 6
