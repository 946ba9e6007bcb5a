from concurrent.futures import ThreadPoolExecutor

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.retrieval import index as index_module
from tasks.retrieval.index import Index

KINDS = ("flat", "hnsw", "ivf")
WIDTH = 32


def unit(vectors):
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def clustered(count, seed=1, topics=200):
    random = np.random.default_rng(seed)
    centres = unit(random.standard_normal((topics, WIDTH)))
    return unit(centres[random.integers(topics, size=count)] + 0.15 * random.standard_normal((count, WIDTH)))


def messages(vectors, count=100):
    random = np.random.default_rng(2)
    picked = vectors[random.choice(len(vectors), count, replace=False)]
    return unit(picked + 0.1 * random.standard_normal((count, WIDTH)))


def brute_force(ids, vectors, message, k):
    cosines = vectors @ message
    order = np.lexsort((ids, -cosines))[:k]
    return ids[order], cosines[order]


def made(kind, vectors, ids=None):
    index = Index(kind)
    index.add(np.arange(len(vectors)) if ids is None else ids, vectors)
    return index


def recall(index, ids, vectors, k=10):
    shares = []
    for message in messages(vectors):
        truth = set(brute_force(ids, vectors, message, k)[0].tolist())
        shares.append(len(truth & set(index.search(message, k)[0].tolist())) / k)
    return np.mean(shares)


def test_flat_is_exact():
    vectors = clustered(3000)
    ids = np.random.default_rng(4).permutation(10**12 + np.arange(3000))
    index = made("flat", vectors, ids)
    for message in messages(vectors):
        found, cosines = index.search(message, 7)
        truth, true_cosines = brute_force(ids, vectors, message, 7)
        assert found.tolist() == truth.tolist() and np.allclose(cosines, true_cosines, atol=1e-6)


@pytest.mark.parametrize("kind", ["hnsw", "ivf"])
def test_an_approximate_index_finds_95_percent_of_the_ten_nearest(kind):
    vectors = clustered(10_000)
    assert recall(made(kind, vectors), np.arange(10_000), vectors) >= 0.95


@pytest.mark.parametrize("kind", ["hnsw", "ivf"])
def test_it_still_does_when_it_grew_step_by_step_and_lost_a_fifth(kind):
    vectors = clustered(8000)
    index = Index(kind)
    for start in range(0, 8000, 1000):
        ids = np.arange(start, start + 1000)
        index.add(ids, vectors[ids])
        index.remove(ids[::5])
    kept = np.array([id for id in range(8000) if id % 5])
    assert len(index) == len(kept)
    assert recall(index, kept, vectors[kept]) >= 0.95


@pytest.mark.parametrize("kind", KINDS)
def test_equal_vectors_come_in_the_order_of_their_ids(kind):
    vectors = np.repeat(np.eye(3, WIDTH, dtype=np.float32), 40, axis=0)
    ids = np.random.default_rng(5).permutation(120)
    found, cosines = made(kind, vectors, ids).search(vectors[0], 5)
    assert found.tolist() == sorted(ids[:40])[:5] and cosines.tolist() == [1.0] * 5


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_vectors_give_the_same_bytes(kind):
    vectors = clustered(1500)
    assert made(kind, vectors).to_bytes() == made(kind, vectors).to_bytes()


@pytest.mark.parametrize("kind", KINDS)
def test_a_thread_that_builds_an_index_does_so_alone(kind):
    def build():
        made(kind, clustered(100))
        return faiss.omp_get_max_threads()

    with ThreadPoolExecutor(1) as pool:  # faiss's number of threads is one of each calling thread
        assert pool.submit(build).result() == 1


@pytest.mark.parametrize("kind", KINDS)
def test_an_index_that_was_saved_between_goes_on_as_if_it_had_not_been(kind):
    vectors = clustered(1500)
    whole, first = made(kind, vectors[:1000]), made(kind, vectors[:1000])
    first.remove([3, 900])
    again = Index.from_bytes(first.to_bytes())
    for index in (whole, again):
        index.remove([3, 900])
        index.add(np.arange(1000, 1500), vectors[1000:])
    assert again.to_bytes() == whole.to_bytes()
    for message in messages(vectors, 20):
        assert all((a == b).all() for a, b in zip(again.search(message, 5), whole.search(message, 5), strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_of_a_removed_vector_is_left_in_the_bytes(kind):
    vectors = clustered(500)
    index = made(kind, vectors)
    assert vectors[123].tobytes() in index.to_bytes()
    assert index.remove([123, 7777]) == 1
    assert vectors[123].tobytes() not in index.to_bytes()
    assert vectors[124].tobytes() in index.to_bytes()


@pytest.mark.parametrize("kind", ("auto", *KINDS))
def test_an_empty_index_finds_nothing_and_can_be_filled_again(kind):
    index = Index(kind)
    assert len(index) == 0 and index.search(np.ones(WIDTH), 3)[0].tolist() == []
    assert Index.from_bytes(index.to_bytes()).to_bytes() == index.to_bytes()
    vectors = clustered(20)
    for _ in range(2):
        index.add(range(20), vectors)
        assert index.search(vectors[4], 1)[0].tolist() == [4]
        assert index.remove(range(20)) == 20 and len(index) == 0
    assert index.search(vectors[4], 1)[0].tolist() == []


def test_the_number_of_vectors_chooses_the_kind(monkeypatch):
    monkeypatch.setattr(index_module, "UP_TO", {"flat": 100, "hnsw": 300, "ivf": 2**63})
    vectors = clustered(400)
    index = Index()
    kinds = []
    for start in range(0, 400, 50):
        index.add(range(start, start + 50), vectors[start : start + 50])
        kinds.append(index.kind)
    assert kinds == ["flat"] * 2 + ["hnsw"] * 4 + ["ivf"] * 2
    index.remove(range(350))
    assert index.kind == "flat" and index.search(vectors[380], 1)[0].tolist() == [380]


@pytest.mark.parametrize("kind", KINDS)
def test_a_named_kind_stays_whatever_the_number(kind, monkeypatch):
    monkeypatch.setattr(index_module, "UP_TO", {"flat": 10, "hnsw": 20, "ivf": 2**63})
    vectors = clustered(60)
    index = made(kind, vectors[:5], range(5))
    index.add(range(5, 60), vectors[5:])
    assert index.kind == kind and len(index) == 60


@pytest.mark.parametrize(
    ("ids", "vectors"),
    [([1, 1], np.eye(2, WIDTH)), ([1], np.eye(2, WIDTH)), ([1], np.full((1, WIDTH), np.nan))],
)
def test_what_could_not_be_found_again_is_not_taken(ids, vectors):
    index = Index()
    with pytest.raises(ValueError, match="one finite vector for each id"):
        index.add(ids, vectors)
    assert len(index) == 0


IDS = st.lists(st.integers(-5, 15), max_size=6, unique=True)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=40, deadline=None)
@given(steps=st.lists(st.tuples(st.booleans(), IDS), max_size=12), seed=st.integers(0, 2**16))
def test_adding_and_removing_equals_a_dictionary(kind, steps, seed):
    random = np.random.default_rng(seed)
    index, known = Index(kind), {}
    for adds, ids in steps:
        if adds:
            vectors = unit(random.standard_normal((len(ids), WIDTH)))
            index.add(ids, vectors)
            known |= dict(zip(ids, vectors, strict=True))
        else:
            assert index.remove(ids) == len(known.keys() & set(ids))
            known = {id: vector for id, vector in known.items() if id not in ids}
        assert len(index) == len(known) and set(index.ids().tolist()) == known.keys()
    message = unit(random.standard_normal(WIDTH))
    found, cosines = index.search(message, 4)
    if known:
        vectors = np.stack(list(known.values()))
        truth, true_cosines = brute_force(np.array(list(known)), vectors, message, 4)
        assert found.tolist() == truth.tolist() and np.allclose(cosines, true_cosines, atol=1e-6)
    else:
        assert found.tolist() == []
