import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.numpy import load_file

from tasks import artifact
from tasks.corpus.cartesian import COLUMNS, cartesian_pairs, memory_text
from tasks.corpus.topics import TopicLine, read_topics, topic_lines
from tasks.encoder import encoder as encoder_step
from tasks.errors import BadInput
from tasks.params import load_params
from tasks.retrieval.encoder import UNKNOWN, build_encoder, embed, load_encoder, save_encoder, shorten, two_towers
from tasks.retrieval.rankers import inverse_frequencies
from tasks.retrieval.search import FREQUENCIES, IDF
from tasks.retrieval.training import pair_rows, ranking_rows, train_encoder
from tests.retrieval.conftest import tiny_bert

ROOT = Path(__file__).parents[2]
IN_A_PROCESS = """
import sys
from pathlib import Path
import torch
from tasks.encoder import encoder
from tasks.params import Encoder
torch.set_num_threads(int(sys.argv[4]))
encoder(Encoder.model_validate_json(sys.argv[1]), 1, Path(sys.argv[2]), Path(sys.argv[3]), lambda *_: None)
"""


@pytest.fixture
def encoder(sizes, lines):
    return build_encoder(sizes, sorted({text for line in lines for text in line}), seed=1)


def test_the_embedding_of_a_text_is_the_mean_of_its_pieces_at_length_one(encoder):
    module = encoder[0]
    pieces = module.tokenizer.encode("Where was I born today?").ids
    mean = module.embedding.weight.detach().numpy()[pieces].mean(0)
    assert np.allclose(embed(encoder, ["Where was I born today?"])[0], mean / np.linalg.norm(mean), atol=1e-6)


def test_a_syllable_that_was_never_seen_is_spelled_from_letters_that_were(encoder, lines):
    assert not any("멈" in text for line in lines for text in line)
    assert encoder[0].tokenizer.encode("멈").tokens and UNKNOWN not in encoder[0].tokenizer.encode("멈").tokens


def test_a_word_in_brackets_has_the_pieces_of_the_word_in_a_sentence(encoder):
    tokenizer = encoder[0].tokenizer
    assert set(tokenizer.encode("[음식: x]").tokens) >= set(tokenizer.encode("음식").tokens)


@pytest.mark.parametrize("text", ["", "🙂", "漢字"])
def test_a_text_of_unseen_characters_resembles_nothing(encoder, text):
    assert not embed(encoder, [text]).any()


def test_a_saved_encoder_loads_from_its_folder_alone_and_embeds_the_same(encoder, tmp_path):
    save_encoder(encoder, tmp_path / "model")
    texts = ["오늘 뭐 먹을까?", "Which town?"]
    assert np.array_equal(embed(load_encoder(tmp_path / "model"), texts), embed(encoder, texts))
    assert not list(tmp_path.rglob("*.md"))


def test_a_missing_encoder_is_a_sentence(tmp_path):
    with pytest.raises(BadInput, match=r"encoder\.model"):
        load_encoder(tmp_path / "nowhere")


def test_two_towers_load_from_their_folder_and_embed_the_same_each_in_its_own_way(encoder, lines, sizes, tmp_path):
    towers, texts = two_towers(encoder), ["오늘 뭐 먹을까?", "Which town?"]
    rows = ranking_rows([TopicLine(*line, group=line[0]) for line in lines], 32, seed=1)
    train_encoder(towers, sizes, 1, lambda *_: None, {"ranking": rows})
    save_encoder(towers, tmp_path / "model")
    loaded = load_encoder(tmp_path / "model")
    for task in ("query", "document"):
        assert np.array_equal(embed(loaded, texts, task), embed(towers, texts, task))
    assert not np.array_equal(embed(loaded, texts, "query"), embed(loaded, texts, "document"))


def test_a_transformer_by_folder_is_trained_and_reads_no_more_than_it_may(sizes, lines, tmp_path):
    texts = sorted({text for line in lines for text in line})
    encoder = load_encoder(tiny_bert(tmp_path, texts, layers=1))
    shorten(encoder, 8)
    before = embed(encoder, texts[:2])
    pairs = pd.DataFrame(cartesian_pairs(lines, [], 1000, 1), columns=list(COLUMNS))
    rows = ranking_rows([TopicLine(*line, group=line[0]) for line in lines], 16, seed=1)
    train_encoder(encoder, sizes, 1, lambda *_: None, {"ranking": rows, "pairs": pair_rows(pairs)})
    assert not np.allclose(embed(encoder, texts[:2]), before)
    assert np.allclose(embed(encoder, ["a " * 8 + "b " * 9])[0], embed(encoder, ["a " * 8])[0], atol=1e-6)


def test_the_step_leaves_the_encoder_the_topics_lines_and_how_they_are_varied(base, topics, sizes):
    read = read_topics(topics)
    for name, lines in zip(("train", "held_out"), topic_lines(read, sizes.copies, 1), strict=True):
        assert [TopicLine(**row) for row in artifact.read_rows(artifact.verified(base) / f"{name}.jsonl")] == lines
    variants = artifact.read_json(base / "variants.json")
    assert variants == {"words": [["film", "movie"]], "frames": ["{message}", "Hey, {message}"]}
    assert {path.name for path in base.iterdir()} == {
        "base.json", "frequencies.safetensors", "held_out.jsonl", "manifest.json", "model", "train.jsonl",
        "variants.json",
    }  # fmt: skip


def test_the_step_counts_in_how_many_of_the_lines_texts_a_term_stands(base):
    lines = [TopicLine(**row) for row in artifact.read_rows(base / "train.jsonl")]
    texts = {text for line in lines for text in (memory_text(line), line.message)}
    frequencies = load_file(base / FREQUENCIES)[IDF]
    assert np.array_equal(frequencies, inverse_frequencies(sorted(texts)))
    assert frequencies.max() == pytest.approx(math.log(1 + len(texts)) + 1)  # of what stands in none


def test_it_learns_which_messages_ask_for_which_topic(base, sizes):
    lines = [TopicLine(**row) for row in artifact.read_rows(base / "train.jsonl")]
    memories = [f"[{line.key}: {line.value}]" for line in lines]
    trained = load_encoder(base / "model")
    untrained = build_encoder(sizes, sorted({*memories, *(line.message for line in lines)}), seed=1)

    def right(encoder):
        best = (embed(encoder, [line.message for line in lines]) @ embed(encoder, memories).T).argmax(1)
        return sum(lines[place].group == line.group for place, line in zip(best, lines, strict=True))

    assert right(trained) > right(untrained)


def test_two_processes_write_the_same_bytes_and_nothing_to_the_terminal(base, topics, sizes, tmp_path):
    arguments = [sizes.model_dump_json(), str(topics), str(tmp_path / "there"), str(torch.get_num_threads())]
    ran = subprocess.run(
        [sys.executable, "-c", IN_A_PROCESS, *arguments],
        cwd=ROOT, env={**os.environ, "PYTHONHASHSEED": "7"}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert ran.stdout + ran.stderr == ""
    assert artifact.manifest_sum(base) == artifact.manifest_sum(tmp_path / "there")


def test_an_encoder_by_folder_is_taken_as_it_is(encoder, topics, sizes, tmp_path):
    save_encoder(encoder, tmp_path / "own")
    own = sizes.model_copy(update={"model": str(tmp_path / "own")})
    encoder_step(own, 1, topics, tmp_path / "out", lambda *_: pytest.fail("it was trained"))
    texts = ["오늘 뭐 먹을까?", "Which town?"]
    assert np.array_equal(embed(load_encoder(tmp_path / "out/model"), texts), embed(encoder, texts))
    assert artifact.read_rows(tmp_path / "out/train.jsonl")


def test_without_topics_nothing_is_written(sizes, tmp_path):
    with pytest.raises(BadInput, match=r"has no \.yaml file"):
        encoder_step(sizes, 1, tmp_path / "topics", tmp_path / "out", lambda *_: None)
    assert not (tmp_path / "out").exists()


def test_the_default_parameters_name_the_small_encoder():
    assert load_params(ROOT / "params.yaml").encoder.model == "small"
