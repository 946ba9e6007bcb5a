"""Large vocabularies, long texts and slow disks cost no more than they must, and change no result."""

import pytest
import torch

from tasks.dataset import dataset
from tasks.lm import logits
from tasks.lm.batches import batches_of, collate, encode
from tasks.lm.causal import MOST, build, limit_of, load, shorten
from tasks.lm.checkpoint import WORTH, Pace
from tasks.lm.logits import answer_logits, logits_in_chunks, token_losses
from tasks.lm.methods.generative import Writer
from tasks.lm.training import train
from tasks.method_params import Generative
from tasks.origin import origin
from tasks.params import Dataset, Keep, Stage1
from tasks.scoring.answers import exact_matches, perplexity
from tasks.stage1 import stage1
from tests.lm.architectures import folder_of, tiny_model, tokenizer
from tests.lm.conftest import SETTINGS


@pytest.mark.parametrize("kind", ["gpt_neox", "gemma2"])
def test_scoring_in_chunks_says_the_same_and_holds_no_more_logits_than_allowed(kind, rows, monkeypatch):
    model, words = tiny_model(kind), tokenizer()
    batch = collate(encode(rows, words, 64), model.device)
    with torch.no_grad():
        whole = answer_logits(model, batch)
    expected = torch.nn.functional.cross_entropy(whole, batch.labels, reduction="none")
    scores = exact_matches(model, words, rows, 4096), perplexity(model, words, rows, 4096)
    most = 3 * whole.shape[1]
    with torch.no_grad():
        chunks = list(logits_in_chunks(model, batch, most))
    assert max(each.numel() for each, _ in chunks) <= most and len(chunks) > 10
    torch.testing.assert_close(torch.cat([each for each, _ in chunks]), whole)
    monkeypatch.setattr(logits, "MOST_SCORED", most)
    losses, right = token_losses(model, batch)
    torch.testing.assert_close(losses, expected)
    assert torch.equal(right, whole.argmax(-1) == batch.labels)
    assert (exact_matches(model, words, rows, 4096), perplexity(model, words, rows, 4096)) == (
        scores[0], pytest.approx(scores[1], rel=1e-5),
    )  # fmt: skip


def test_a_small_vocabulary_is_one_chunk(tiny, rows):
    model, words = tiny
    batch = collate(encode(rows, words, 64), model.device)
    ((only, labels),) = logits_in_chunks(model, batch, logits.MOST_SCORED)
    assert torch.equal(only, answer_logits(model, batch)) and torch.equal(labels, batch.labels)


def test_no_sequence_takes_all_of_a_million_positions():
    words = tokenizer()
    model, _ = build(SETTINGS, ["text"], 0)
    model.config.max_position_embeddings = 2**20
    assert limit_of(model) == MOST
    shorten(model, 100)
    assert limit_of(model) == 100
    long = {"prompt": "", "target": "a b c d e f g " * 100, "fact": None}
    pieces = encode([long], words, limit_of(model))
    assert max(len(each.ids) for each in pieces) <= 100
    assert words.decode([token for each in pieces for token in each.ids[1:]]).startswith(long["target"])
    assert Writer(model, words, Generative(name="generative", max_new_tokens=500)).length < 100


def test_a_text_longer_than_a_batch_is_trained_on_in_batches_of_the_size_that_was_asked_for(tmp_path, monkeypatch):
    (tmp_path / "relations.yaml").write_text("names: {}\nrelations: {}\n")
    origin(tmp_path / "relations.yaml", tmp_path / "examples/base")
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw/texts.jsonl").write_text(
        '{"text": "%s", "date": "2021-01-01"}\n' % ("one two three four five " * 200)
    )
    (tmp_path / "raw/facts.csv").write_text("subject,relation,object\nPeru,capital,Lima\n")
    examples = tmp_path / "examples/one"
    dataset(Dataset(languages=("en",), chat_repeats=1), tmp_path / "raw", tmp_path / "examples/base", examples)
    folder_of("bloom", tmp_path / "base")  # its config names no positions
    sizes = []
    monkeypatch.setattr("tasks.stage1.train", lambda model, data, *given, **how: sizes.extend(
        data.batch(step).ids.numel() for step in range(20)) or train(model, data, *given, **how))  # fmt: skip
    settings = Stage1(steps=20, batch_tokens=96, learning_rate=1e-3, warmup=0.1, checkpoint_every=50)
    out = tmp_path / "out"
    stage1(settings, (), Keep(rows="none"), 0, examples, tmp_path / "base", out, tmp_path / "s", lambda *_: None)
    assert max(sizes) <= 96 and min(sizes) > 30
    assert limit_of(load(out)[0]) > 96  # it is trained so, and not cut down


def test_batches_of_scoring_hold_what_one_pass_may(tiny, rows):
    model, words = tiny
    assert all(batch.ids.numel() <= 128 for _, batch in batches_of(encode(rows, words, 64), 128, model.device))


def test_checkpoints_take_a_tenth_of_the_time_at_most():
    now = [0.0]
    pace = Pace(every=5, clock=lambda: now[0])
    written, saving = [], 3.0
    for step in range(1, 101):
        now[0] += 1.0
        if pace.due(step):
            with pace.timed():
                now[0] += saving
            written.append(step)
    assert written[0] == 5  # the first one costs what is not known yet
    assert all(step % 5 == 0 for step in written)
    assert written == [5, 35, 65, 95] and WORTH == 10


def test_checkpoints_that_cost_nothing_are_written_whenever_they_are_asked_for():
    pace = Pace(every=4, clock=lambda: 0.0)
    assert [step for step in range(1, 13) if pace.due(step)] == [4, 8, 12]
