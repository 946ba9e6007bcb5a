"""An encoder's prompts stand before the same texts in training as in use; where it has none, nothing does."""

import numpy as np
import pandas as pd
import pytest
from sentence_transformers import SentenceTransformer

from tasks.corpus.cartesian import COLUMNS, cartesian_pairs, memory_text
from tasks.corpus.topics import TopicLine
from tasks.retrieval.encoder import build_encoder, embed, load_encoder, save_encoder, two_towers
from tasks.retrieval.prompts import prompt_of
from tasks.retrieval.rankers import Dense
from tasks.retrieval.training import pair_rows, ranking_rows, train_encoder

E5 = {"query": "query: ", "passage": "passage: "}
# prompts, the default's name -> before a message, before a memory
WANTED = {
    "e5": (E5, None, "query: ", "passage: "),
    "e5 with a default": (E5, "query", "query: ", "passage: "),
    "documents have none": ({"query": "Find it: ", "document": ""}, "query", "Find it: ", ""),
    "corpus": ({"corpus": "text: "}, None, "", "text: "),
    "only a default": ({"sts": "same? "}, "sts", "same? ", "same? "),
    "a default beside those of a task": (E5 | {"sts": "same? "}, "sts", "query: ", "passage: "),
    "of another task": ({"classification": "class: "}, None, "", ""),
    "none": ({}, None, "", ""),
}


@pytest.fixture
def own(lines):
    return [TopicLine(*line, group=line[0]) for line in lines]


def encoder_with(prompts, default, sizes, own):
    texts = sorted({text for line in own for text in (memory_text(line), line.message)})
    plain = build_encoder(sizes, [*texts, *filter(None, prompts.values())], seed=1)
    return SentenceTransformer(modules=list(plain), device="cpu", prompts=prompts, default_prompt_name=default)


def seen_by(encoder, monkeypatch):
    """The texts that the encoder reads from now on, with what stands before them."""
    first = next(iter(encoder)) if not hasattr(encoder[0], "sub_modules") else None
    modules = [first] if first else [tower[0] for tower in encoder[0].sub_modules.values()]
    seen: set[str] = set()
    for module in modules:
        real = module.preprocess

        def preprocess(inputs, prompt=None, real=real, **others):
            seen.update(f"{prompt or ''}{text}" for text in inputs)
            return real(inputs, prompt=prompt, **others)

        monkeypatch.setattr(module, "preprocess", preprocess)
    return seen


@pytest.mark.parametrize("towers", [False, True], ids=["sbert", "dpr"])
@pytest.mark.parametrize("case", WANTED)
def test_training_and_use_put_the_same_before_a_text(case, towers, sizes, lines, own, monkeypatch):
    prompts, default, query, document = WANTED[case]
    encoder = encoder_with(prompts, default, sizes, own)
    encoder = two_towers(encoder) if towers else encoder
    seen = seen_by(encoder, monkeypatch)
    pairs = pd.DataFrame(cartesian_pairs(lines[:4], [], 16, 1), columns=list(COLUMNS))
    data = {"ranking": ranking_rows(own, 32, 0), "pairs": pair_rows(pairs)}
    train_encoder(encoder, sizes, 0, lambda *_: None, data)
    trained = set(seen)
    memories, messages = {memory_text(line) for line in own}, {line.message for line in own}
    assert trained <= {query + text for text in messages} | {document + text for text in memories}
    seen.clear()
    dense = Dense(encoder)
    dense.scores(own[0].message, [memory_text(line) for line in own])
    assert seen == {query + own[0].message} | {document + text for text in memories}
    assert np.array_equal(dense.vectors([memory_text(own[0])]), embed(encoder, [memory_text(own[0])], "document"))


def test_prompts_are_saved_with_the_encoder_and_its_two_towers(sizes, own, tmp_path):
    encoder = encoder_with(E5, "query", sizes, own)
    for name, each in (("one", encoder), ("two", two_towers(encoder))):
        save_encoder(each, tmp_path / name)
        again = load_encoder(tmp_path / name)
        assert (prompt_of(again, "query"), prompt_of(again, "document")) == ("query: ", "passage: ")
        assert np.array_equal(Dense(again).message_vector("Peru"), Dense(encoder).message_vector("Peru"))
