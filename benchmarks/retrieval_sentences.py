"""The rankers on sentences that are no memories: Korean sentence pairs, and messages with their answers."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from datasets import Dataset
from safetensors.numpy import load_file
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from benchmarks.ranking import COLUMNS, DECISION, Likeness, Pairs, Questions, Table, compared, contenders
from benchmarks.retrieval_lines import dpr_folder
from benchmarks.retrievers import Project, encoder_folder, quiet, retriever_folder
from tasks import artifact
from tasks.retrieval.encoder import load_encoder, two_towers
from tasks.retrieval.rankers import inverse_frequencies
from tasks.retrieval.search import FREQUENCIES, IDF, MODEL
from tasks.retrieval.training import pair_rows, train_encoder

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

FEATURES = ("sbert", "tfidf")  # of both hybrids: a sentence has no key
ALIKE = 0.8  # similarity from which a sentence must be found
STS, CHAT = "klue_sts/pairs.jsonl", "korean_chat/pairs.jsonl"
STS_SHARES, CHAT_SHARES = (0.5, 0.2), (0.2, 0.05)  # to test on, to calibrate on; the rest trains
EPOCHS, STS_BATCH = 20, 16  # batches of answers and all else as in params.yaml's retriever; neither was tuned

Rows = Sequence[Mapping[str, str]]


def sentence_pairs(project: Project, data: Path) -> Iterator[tuple[str, Table]]:
    """KLUE-STS: by the default retrievers as they are, and by encoders trained on some of the pairs."""
    rows = artifact.read_rows(data / STS)
    told = [(row["sentence1"], row["sentence2"]) for row in rows]
    true = np.array([row["score"] for row in rows])
    test, calibration, train = (
        (Pairs([told[at][0] for at in side], [told[at][1] for at in side], true[side]))
        for side in dealt(told, STS_SHARES, project.params.seed)
    )
    candidates = list(dict.fromkeys(text for _, text in told))
    asked, to_calibrate = (_alike(side, candidates) for side in (test, calibration))
    likeness = Likeness(calibration, test)
    note = (
        f"{len(test.true)} pairs; {len(asked.messages)} sentences asked among {len(candidates)}; calibrated on "
        f"{len(to_calibrate.messages)} others, lines fitted on {len(calibration.true)} pairs."
    )
    folders = retriever_folder(project, project.slices[-1]), dpr_folder(project)
    idf = load_file(folders[0] / FREQUENCIES)[IDF]
    made = contenders((load_encoder(folder / MODEL) for folder in folders), idf, FEATURES)
    measure = partial(
        compared, settings=project.params.retriever, calibration=to_calibrate.asked(), test=asked, likeness=likeness
    )
    yield "sts", Table(COLUMNS, measure(made), note)

    table = pd.DataFrame({"memory_0": train.texts, "user_prompt_1": train.messages, "similarity_score": train.true})
    encoders = _two_encoders(project, STS_BATCH, {"pairs": pair_rows(table)})
    made = contenders(encoders, inverse_frequencies(sorted({*train.messages, *train.texts})), FEATURES)
    yield "sts_trained", Table(COLUMNS, measure(made), f"The same, trained on {len(train.true)} other pairs.")


def _alike(pairs: Pairs, candidates: Sequence[str]) -> Questions:
    """The first sentences that have one alike, among all second sentences."""
    right: dict[str, set[str]] = {}
    for message, text, similarity in zip(*pairs, strict=True):
        if similarity >= ALIKE:
            right.setdefault(message, set()).add(text)
    fits = np.array([[text in texts for text in candidates] for texts in right.values()])
    return Questions(list(right), candidates, fits)


def answers(project: Project, data: Path) -> Iterator[tuple[str, Table]]:
    """Messages that must find their answers, after training on other messages and answers."""
    rows = artifact.read_rows(data / CHAT)
    told = list(dict.fromkeys((row["input"].strip(), row["output"].strip()) for row in rows))
    test, calibration, train = ([told[at] for at in side] for side in dealt(told, CHAT_SHARES, project.params.seed))
    asked = _answered(test, [])
    # as many answers as in the test: the more there are, the better the best wrong one
    to_calibrate = _answered(calibration, [answer for _, answer in train], len(asked.texts))
    trained_on = {"ranking": answer_rows(train, project.params.seed)}
    encoders = _two_encoders(project, project.params.retriever.batch_size, trained_on)
    made = contenders(encoders, inverse_frequencies(sorted({text for pair in train for text in pair})), FEATURES)
    note = (
        f"{len(asked.messages)} messages among {len(asked.texts)} answers; trained on {len(train)} pairs, calibrated "
        f"on {len(to_calibrate.messages)} messages among {len(to_calibrate.texts)} answers."
    )
    columns = ("top1", "mrr", "recall10", *DECISION, "per_second")
    yield "chat", Table(columns, compared(made, project.params.retriever, to_calibrate.asked(), asked), note)


def _answered(pairs: Sequence[tuple[str, str]], others: Sequence[str], most: int = 0) -> Questions:
    """Each message once, each answer once, up to `most` other answers beside them; all of a message's answers fit."""
    right: dict[str, set[str]] = {}
    for message, answer in pairs:
        right.setdefault(message, set()).add(answer)
    own = list(dict.fromkeys(answer for _, answer in pairs))
    texts = [*own, *list(dict.fromkeys(others))[: max(0, most - len(own))]]
    return Questions(list(right), texts, np.array([[text in fit for text in texts] for fit in right.values()]))


def answer_rows(pairs: Sequence[tuple[str, str]], seed: int) -> Dataset:
    """Rows for in-batch negatives: a message, its answer, any other row's answer; same answers have one group."""
    group = components(pairs)
    other = np.random.default_rng(seed).permutation(len(pairs))
    return Dataset.from_dict(
        {
            "message": [message for message, _ in pairs],
            "memory": [answer for _, answer in pairs],
            "neighbour": [pairs[at][1] for at in other.tolist()],
            "label": np.stack([group, group[other]], 1).tolist(),
        }
    )


def _two_encoders(project: Project, batch_size: int, data: dict[str, Dataset]) -> list["SentenceTransformer"]:
    """The base encoder trained on, as one and as two towers."""
    settings = project.params.retriever.model_copy(update={"batch_size": batch_size})
    model = encoder_folder(project) / MODEL
    encoders = [load_encoder(model), two_towers(load_encoder(model))]
    for each in encoders:
        train_encoder(each, settings, project.params.seed, quiet, data, EPOCHS)
    return encoders


def dealt(pairs: Sequence[tuple[str, str]], shares: Sequence[float], seed: int) -> list[list[int]]:
    """Deal rows to sides by share, the rest to a last side; rows that share a message or a text are dealt together."""
    group = components(pairs)
    sides: list[list[int]] = [[] for _ in (*shares, None)]
    for each in np.random.default_rng(seed).permutation(group.max() + 1):
        rows = np.flatnonzero(group == each).tolist()
        room = (len(side) + len(rows) <= share * len(pairs) for side, share in zip(sides, shares, strict=False))
        sides[next((place for place, free in enumerate(room) if free), len(shares))] += rows
    return [sorted(side) for side in sides]


def components(pairs: Sequence[tuple[str, str]]) -> np.ndarray:
    """[pairs] numbers; two rows have one number if they share a message or a text, or are linked by rows that do."""
    messages, texts = (
        {text: at for at, text in enumerate(dict.fromkeys(column))} for column in zip(*pairs, strict=True)
    )
    ends = [[messages[message] for message, _ in pairs], [len(messages) + texts[text] for _, text in pairs]]
    size = len(messages) + len(texts)
    of_node = connected_components(coo_matrix((np.ones(len(pairs)), ends), shape=(size, size)), directed=False)[1]
    return np.unique(of_node[ends[0]], return_inverse=True)[1]
