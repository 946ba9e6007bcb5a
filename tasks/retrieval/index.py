"""The nearest of a user's vectors: FAISS, exact for few of them, approximate for many.

Vectors have length one, so that an inner product is a cosine. Three kinds, chosen by number (`UP_TO`); what they
cost is measured in docs/index.md:

  flat  compares with every vector: exact, and there is nothing to build.
  hnsw  walks a graph of near neighbours (Malkov & Yashunin 2018): the quickest, but slow to build, and no vector can
        leave a graph: a removed one is zeroed and passed over, and when they are many the graph is built anew.
  ivf   compares with the vectors of the nearest k-means lists: built in a fraction of the graph's time.
"""

import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

UP_TO = {"flat": 50_000, "hnsw": 200_000, "ivf": 2**63}  # vectors, where the kind is chosen by their number
REMOVED = {"flat": 0.0, "hnsw": 0.2, "ivf": 0.5}  # a larger share of the places: the structure is built anew
SEED = 20

LINKS = 32  # of a vector in the graph, and twice as many in its lowest layer
BUILD_BREADTH = 80  # candidates for the links of a new vector
SEARCH_BREADTH = 256  # candidates of a search

LIST_VECTORS = 40  # vectors per list at least, and
LISTS_PER_ROOT = 2  # at most so many lists per square root of the number of vectors
PROBED, PROBED_AT_LEAST = 0.1, 32  # share of the lists that a search reads
SAMPLE = 64  # vectors per list that k-means learns from
ROUNDS = 10  # of k-means
GROWTH = 2  # times as many vectors as the lists were made for: new lists

Nearest = tuple[np.ndarray, np.ndarray]  # ids (int64) and cosines (float32), best first


class Index:
    """Vectors under int64 ids; finds those that are nearest to another vector."""

    def __init__(self, choice: str = "auto"):
        """Choose auto, flat, hnsw or ivf; the first vectors that are added tell the width."""
        self.choice = choice
        self.kind = "flat"
        self._structure: Any = None  # faiss's
        self._ids = np.empty(0, np.int64)  # the n-th vector since the structure was built has place n, for good
        self._live = np.empty(0, bool)  # by place; False: removed
        self._built_for = 0  # vectors

    def __len__(self) -> int:
        return int(self._live.sum())

    def ids(self) -> np.ndarray:
        """The ids of all vectors, the longest here first."""
        return self._ids[self._live]

    def add(self, ids: Sequence[int] | np.ndarray, vectors: np.ndarray) -> None:
        """Add unit vectors, [ids, width]; an id that is here already gets the new vector."""
        new, vectors = paired(ids, vectors)
        self.remove(new)
        if self._structure is None or len(self) + len(new) > self._limit():
            vectors = np.concatenate([self._vectors(), vectors]) if len(self) else vectors
            self._build(np.concatenate([self.ids(), new]), vectors)
        else:
            self._append(new, vectors)

    def remove(self, ids: Sequence[int] | np.ndarray) -> int:
        """Remove vectors, so that none of their numbers is left, and return how many there were."""
        gone = np.flatnonzero(np.isin(self._ids, np.asarray(ids, np.int64)) & self._live)
        if not len(gone):
            return 0
        live = self._live.copy()
        live[gone] = False
        if live.mean() < 1 - REMOVED[self.kind]:
            kept = np.isin(np.flatnonzero(self._live), gone, invert=True)
            self._build(self.ids()[kept], self._vectors()[kept])
        else:
            self._live = live
            self._erase(gone)
        return len(gone)

    def search(self, vector: np.ndarray, k: int) -> Nearest:
        """The k nearest ids and their cosines, best first; of equal ones the lower id stands first.

        An approximate kind may miss some, and may so return fewer than k.
        """
        count = len(self)
        wanted = reach = min(k, count)
        if wanted < 1:
            return np.empty(0, np.int64), np.empty(0, np.float32)
        while True:
            # faiss breaks a tie by place: look one further than wanted, and until no tie is cut
            reach = min(reach + 1, count)
            cosines, places = self._nearest(vector, reach)
            if reach == count or len(places) < reach or cosines[-1] < cosines[wanted - 1]:
                break
            reach *= 2
        ids = self._ids[places]
        order = np.lexsort((ids, -cosines))[:wanted]
        return ids[order], cosines[order]

    def to_bytes(self) -> bytes:
        """The whole index: a line of JSON, the ids, which of them are live, and faiss's own bytes."""
        head = {"choice": self.choice, "kind": self.kind, "places": len(self._ids), "built_for": self._built_for}
        line = json.dumps(head, sort_keys=True).encode() + b"\n"
        structure = _faiss().serialize_index(self._structure) if self._structure is not None else b""
        return b"".join([line, self._ids.astype("<i8").tobytes(), self._live.tobytes(), structure])

    @classmethod
    def from_bytes(cls, content: bytes) -> "Index":
        """The index of `to_bytes`. Faiss doesn't survive changed bytes: check their sum first."""
        line, _, rest = content.partition(b"\n")
        head = json.loads(line)
        places = head["places"]
        index = cls(head["choice"])
        index.kind, index._built_for = head["kind"], head["built_for"]
        index._ids = np.frombuffer(rest, "<i8", places).astype(np.int64)
        index._live = np.frombuffer(rest, bool, places, offset=8 * places).copy()
        if places:
            index._structure = _faiss().deserialize_index(np.frombuffer(rest, np.uint8, offset=9 * places))
        return index

    def _limit(self) -> float:
        """How many vectors the structure is good for."""
        if self.choice == "auto" and self.kind != "ivf":
            return UP_TO[self.kind]
        return GROWTH * self._built_for if self.kind == "ivf" else float("inf")

    def _build(self, ids: np.ndarray, vectors: np.ndarray) -> None:
        self.kind = next(kind for kind in UP_TO if len(ids) <= UP_TO[kind]) if self.choice == "auto" else self.choice
        self._ids, self._live, self._built_for = np.empty(0, np.int64), np.empty(0, bool), len(ids)
        self._structure = MAKERS[self.kind](vectors) if len(ids) else None
        self._append(ids, vectors)

    def _append(self, ids: np.ndarray, vectors: np.ndarray) -> None:
        if not len(ids):
            return
        places = np.arange(len(self._ids), len(self._ids) + len(ids))
        if self.kind == "ivf":
            _faiss()
            self._structure.add_with_ids(vectors, places)
        else:
            if self.kind == "hnsw":  # faiss doesn't save its generator: the graph must not depend on when it was saved
                self._structure.hnsw.rng = _faiss().RandomGenerator(SEED + len(self._ids))
            self._structure.add(vectors)
        self._ids = np.concatenate([self._ids, ids])
        self._live = np.concatenate([self._live, np.ones(len(ids), bool)])

    def _erase(self, places: np.ndarray) -> None:
        if self.kind == "ivf":
            self._structure.remove_ids(places)
        else:
            _stored(self._structure)[places] = 0

    def _vectors(self) -> np.ndarray:
        """A copy of all vectors, [ids, width], in the order of `ids`."""
        if self.kind != "ivf":
            return _stored(self._structure)[self._live]
        from faiss.contrib.inspect_tools import get_invlist

        vectors = np.empty((len(self._ids), self._structure.d), np.float32)
        for number in range(self._structure.nlist):
            places, codes = get_invlist(self._structure.invlists, number)
            if len(places):
                vectors[places] = codes.view(np.float32)
        return vectors[self._live]

    def _nearest(self, vector: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        faiss = _faiss()
        how = None
        if self.kind == "ivf":
            how = faiss.SearchParametersIVF(nprobe=max(PROBED_AT_LEAST, int(PROBED * self._structure.nlist)))
        elif self.kind == "hnsw":
            live = None if self._live.all() else faiss.IDSelectorBitmap(np.packbits(self._live, bitorder="little"))
            how = faiss.SearchParametersHNSW(efSearch=max(SEARCH_BREADTH, count), sel=live)
        query = np.ascontiguousarray(vector, np.float32)[None]
        cosines, places = self._structure.search(query, count, params=how)
        found = places[0] >= 0
        return cosines[0][found], places[0][found]


def paired(ids: Sequence[int] | np.ndarray, vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ids and their vectors as arrays, if they can be added: one finite vector for each id, and each id once."""
    new, vectors = np.asarray(ids, np.int64), np.ascontiguousarray(vectors, np.float32)
    if len(new) != len(vectors) or len(np.unique(new)) < len(new) or not np.isfinite(vectors).all():
        raise ValueError("an index takes one finite vector for each id, and each id once")
    return new, vectors


def _flat(vectors: np.ndarray) -> Any:
    return _faiss().IndexFlatIP(vectors.shape[1])


def _hnsw(vectors: np.ndarray) -> Any:
    faiss = _faiss()
    structure = faiss.IndexHNSWFlat(vectors.shape[1], LINKS, faiss.METRIC_INNER_PRODUCT)
    structure.hnsw.efConstruction = BUILD_BREADTH
    return structure


def _ivf(vectors: np.ndarray) -> Any:
    faiss = _faiss()
    count, width = vectors.shape
    lists = max(1, min(count // LIST_VECTORS, int(LISTS_PER_ROOT * count**0.5)))
    structure = faiss.IndexIVFFlat(faiss.IndexFlatIP(width), width, lists, faiss.METRIC_INNER_PRODUCT)
    means = structure.cp
    means.seed, means.niter, means.max_points_per_centroid, means.min_points_per_centroid = SEED, ROUNDS, SAMPLE, 1
    structure.train(vectors)
    return structure


MAKERS: dict[str, Callable[[np.ndarray], Any]] = {"flat": _flat, "hnsw": _hnsw, "ivf": _ivf}


def _stored(structure: Any) -> np.ndarray:
    """Faiss's own array of vectors, [places, width], to read and to write."""
    faiss = _faiss()
    storage = faiss.downcast_index(structure.storage) if hasattr(structure, "storage") else structure
    return faiss.rev_swig_ptr(storage.get_xb(), storage.ntotal * storage.d).reshape(storage.ntotal, storage.d)


def _faiss() -> Any:
    """The library, with one thread: several link a graph in another order each time."""
    import faiss

    faiss.omp_set_num_threads(1)  # of the calling thread, therefore before each use
    return faiss
