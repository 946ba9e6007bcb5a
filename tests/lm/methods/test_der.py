import shutil

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from tasks.lm.batches import Mixture, Part, collate, encode
from tasks.lm.causal import build
from tasks.lm.logits import answer_logits
from tasks.lm.methods.der import DER
from tasks.lm.methods.method import Share
from tasks.lm.mixing import encoded
from tasks.lm.training import Schedule, train
from tasks.method_params import DER as DERSettings
from tests.lm.conftest import SETTINGS


def question(slice_, fact, number, prompt, target):
    return {
        "id": f"{slice_}/{fact}/en/question{number}",
        "kind": "question",
        "fact": f"{slice_}/{fact}",
        "prompt": prompt,
        "target": target,
    }


OLD = [
    question("one", fact, number, f"{asked} {name}?", leader)
    for fact, (name, leader) in enumerate([("Norway", "Ada"), ("Peru", "Ben Benson"), ("Chile", "Cleo"), ("Fiji", "D")])
    for number, asked in enumerate(["Who leads", "Name the leader of", "The head of"])
]
TEXTS = [{**row, "id": f"{row['id']}s", "prompt": "", "target": f"{row['target']} leads."} for row in OLD]
NEW = [
    question("two", fact, 0, f"Who leads {name}?", leader)
    for fact, (name, leader) in enumerate([("Japan", "Eve"), ("Egypt", "Finn"), ("Mali", "Gus")])
]


@pytest.fixture
def der_tiny():
    return build(SETTINGS, [f"{row['prompt']} {row['target']}" for row in [*OLD, *NEW]], seed=1)


def disturb(model, by=0.05):
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for value in model.parameters():
            value.add_((by * torch.randn(value.shape, generator=generator)).to(value))


def begun(model, tokenizer, previous, **settings):
    method = DER(DERSettings(name="der", **settings), seed=0)
    assert method.begin(model, tokenizer, previous) is model
    return method


def learn(model, tokenizer, previous, out, fresh, older=(), **settings):
    """One slice, without any training step, after which its own rows and the older ones may be kept."""
    method = begun(model, tokenizer, previous, **settings)
    shares = method.examples([Share(fresh, 1.0)], list(older))
    method.keepable = [*older, *fresh]
    assert method.end(model, None, out / "method") is model
    return method, shares


def buffer(folder):
    """The stored logits by row id."""
    assert {path.name for path in (folder / "method").iterdir()} == {"der.safetensors"}  # and no row
    return load_file(folder / "method" / "der.safetensors")


def logits_by_hand(model, tokenizer, row):
    """[answer tokens, vocabulary], each from a whole forward pass over what stands before the token."""
    (sequence,) = encode([row], tokenizer, 64)
    places = range(sequence.start, len(sequence.ids))
    return torch.stack(
        [model(torch.tensor([sequence.ids[:place]], device=model.device)).logits[0, -1] for place in places]
    )


def test_the_buffer_holds_the_logits_of_rows_with_a_prompt_as_learnt(der_tiny, tmp_path):
    model, tokenizer = der_tiny
    disturb(model, 0.1)
    (tmp_path / "one").mkdir()
    _, shares = learn(model, tokenizer, tmp_path / "base", tmp_path / "one", [*TEXTS, *OLD], rows=8)
    assert shares == [Share([*TEXTS, *OLD], 1.0)]  # the oldest slice has no buffer to replay
    logits, by_id = buffer(tmp_path / "one"), {row["id"]: row for row in OLD}
    assert len(logits) == 8
    for name, value in logits.items():
        assert value.dtype == torch.float16
        expected = logits_by_hand(model, tokenizer, by_id[name]).detach()
        torch.testing.assert_close(value.float(), expected.cpu(), rtol=1e-3, atol=1e-3)


def test_the_buffer_has_as_many_rows_of_every_fact(der_tiny, tmp_path):
    model, tokenizer = der_tiny
    many = [question("one", 0, 10 + number, f"Again {number}?", "Ada") for number in range(30)]
    (tmp_path / "one").mkdir()
    learn(model, tokenizer, tmp_path / "base", tmp_path / "one", [*many, *OLD], rows=8)
    facts = [name.split("/")[1] for name in buffer(tmp_path / "one")]
    assert {facts.count(fact) for fact in set(facts)} == {2}
    assert len(set(facts)) == 4


def test_old_rows_keep_the_logits_that_they_were_learnt_with_and_need_no_older_folder(der_tiny, tmp_path):
    model, tokenizer = der_tiny
    for name in ("one", "two", "three"):
        (tmp_path / name).mkdir()
    learn(model, tokenizer, tmp_path / "base", tmp_path / "one", OLD, rows=6)
    first = buffer(tmp_path / "one")
    disturb(model)
    learn(model, tokenizer, tmp_path / "one", tmp_path / "two", NEW, OLD, rows=9)
    shutil.rmtree(tmp_path / "one")
    disturb(model)
    learn(model, tokenizer, tmp_path / "two", tmp_path / "three", NEW[:1], [*OLD, *NEW[1:]], rows=9)
    logits = buffer(tmp_path / "three")
    assert {name.split("/")[0] for name in logits} == {"one", "two"}
    kept = [name for name in logits if name.startswith("one")]
    assert all(torch.equal(logits[name], first[name]) for name in kept)


@pytest.mark.parametrize("rows", [3, 100])
def test_of_a_pool_it_holds_only_what_is_in_the_pool(der_tiny, tmp_path, rows):
    model, tokenizer = der_tiny
    (tmp_path / "one").mkdir()
    method = begun(model, tokenizer, tmp_path / "base", rows=rows)
    method.examples([Share(OLD, 1.0)], [])
    method.keepable = OLD[2:7]
    method.end(model, None, tmp_path / "one" / "method")
    held = set(buffer(tmp_path / "one"))
    assert held <= {row["id"] for row in OLD[2:7]}
    assert len(held) == min(rows, 5)


def test_what_was_not_learnt_with_it_has_no_logits(der_tiny, tmp_path):
    """Of older rows that the buffer did not choose, the logits of the day they were learnt are gone."""
    model, tokenizer = der_tiny
    (tmp_path / "two").mkdir()
    _, shares = learn(model, tokenizer, tmp_path / "base", tmp_path / "two", NEW, OLD, rows=100)
    assert len(shares) == 1
    assert set(buffer(tmp_path / "two")) == {row["id"] for row in NEW}


def second_slice(model, tokenizer, tmp_path, **settings):
    """After a first slice, by a model that has changed since then."""
    (tmp_path / "one").mkdir()
    learn(model, tokenizer, tmp_path / "base", tmp_path / "one", OLD, rows=len(OLD))
    disturb(model)
    return begun(model, tokenizer, tmp_path / "one", **settings), buffer(tmp_path / "one")


def test_the_penalty_is_alpha_times_the_mean_square_on_buffer_rows_in_whatever_order(der_tiny, tmp_path):
    model, tokenizer = der_tiny
    method, stored = second_slice(model, tokenizer, tmp_path, alpha=0.7, share=0.3)
    replayed = Share(OLD[:4], 0.25)
    shares = method.examples([Share(NEW, 0.75), replayed], OLD)
    assert [share.share for share in shares] == [pytest.approx(0.525), pytest.approx(0.175), 0.3]
    assert shares[2].rows == OLD
    thinned = [shares[2].rows[index] for index in (9, 2, 7, 4)]  # what else may happen to a share before it is encoded
    parts = [Part(encode(each, tokenizer, 64), 0.3) for each in (NEW, replayed.rows, thinned)]
    origin = [(2, 3), (0, 1), (1, 2), (2, 0), (2, 1), (0, 0)]
    batch = collate([parts[part].sequences[index] for part, index in origin], model.device, origin)
    penalty = method.penalty(model, batch, answer_logits(model, batch))
    squares = []
    for row in (thinned[3], thinned[0], thinned[1]):  # the same rows in the replayed part count only as replayed
        found, kept = logits_by_hand(model, tokenizer, row), stored[row["id"]].to(model.device)
        squares += [(found[place] - kept[place].float()) ** 2 for place in range(len(kept))]
    expected = 0.7 * torch.cat(squares).mean()
    assert float(expected.detach()) > 1e-4
    torch.testing.assert_close(penalty, expected, rtol=1e-4, atol=1e-8)
    pairs = zip(
        torch.autograd.grad(penalty, list(model.parameters())),
        torch.autograd.grad(expected, list(model.parameters())),
        strict=True,
    )
    for found, by_hand in pairs:
        torch.testing.assert_close(found, by_hand, rtol=1e-3, atol=1e-7)


def test_every_batch_of_a_mixture_finds_its_logits_although_the_share_was_thinned_out(der_tiny, tmp_path):
    model, tokenizer = der_tiny
    many = [question("one", number, 0, f"Who leads the {number} th?", "Ada") for number in range(150)]
    (tmp_path / "one").mkdir()
    learn(model, tokenizer, tmp_path / "base", tmp_path / "one", many, rows=150)
    method = begun(model, tokenizer, tmp_path / "one")
    shares = method.examples([Share(NEW, 1.0)], many)
    parts = encoded(shares, tokenizer, 64, tokens=6 * 128, seed=0)
    assert len(parts[1].sequences) < len(shares[1].rows) == 150
    data = Mixture(parts, 128, 6, 0, model.device)
    for step in range(6):  # the model has not changed: what was stored is what it says, up to float16
        batch = data.batch(step)
        assert (batch.parts == 1).any()
        penalty = method.penalty(model, batch, answer_logits(model, batch))
        assert 0 < float(penalty.detach()) < 1e-7


def test_buffer_rows_have_their_share_of_the_cross_entropy(der_tiny, tmp_path):
    model, tokenizer = der_tiny
    method, _ = second_slice(model, tokenizer, tmp_path, share=0.4)
    shares = method.examples([Share(NEW, 1.0)], OLD)
    data = Mixture(encoded(shares, tokenizer, 64, 1000, 0), 50, 20, 0, model.device)
    old = new = 0
    for step in range(20):
        batch = data.batch(step)
        old += int((batch.parts == 1).sum())
        new += int((batch.parts == 0).sum())
    assert old / (old + new) == pytest.approx(0.4, abs=0.08)


def test_an_overridden_row_is_neither_replayed_nor_handed_on(der_tiny, tmp_path):
    """The caller hands over only rows that are still true."""
    model, tokenizer = der_tiny
    second_slice(model, tokenizer, tmp_path)
    (tmp_path / "two").mkdir()
    changed = {**OLD[0], "id": "two/0/en/question0", "target": "Zoe", "fact": "two/0"}
    _, shares = learn(model, tokenizer, tmp_path / "one", tmp_path / "two", [changed], OLD[3:])
    assert shares[1].rows == OLD[3:]
    assert set(buffer(tmp_path / "two")) == {row["id"] for row in [changed, *OLD[3:]]}


def test_without_buffer_rows_nothing_is_added(der_tiny, tmp_path):
    model, tokenizer = der_tiny
    first = begun(model, tokenizer, tmp_path)
    first.examples([Share(NEW, 1.0)], [])
    batch = collate(encode(NEW, tokenizer, 64), model.device)
    assert first.penalty(model, batch, answer_logits(model, batch)) == 0.0
    second, _ = second_slice(model, tokenizer, tmp_path)
    second.examples([Share(NEW, 1.0)], [])
    assert second.penalty(model, batch, answer_logits(model, batch)) == 0.0


def test_the_same_slice_leaves_the_same_bytes(der_tiny, tmp_path):
    model, tokenizer = der_tiny
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        learn(model, tokenizer, tmp_path / "base", tmp_path / name, OLD, rows=7)
    one, other = (tmp_path / name / "method" / "der.safetensors" for name in ("a", "b"))
    assert one.read_bytes() == other.read_bytes()


def test_bfloat16_weights_are_compared_in_float32(der_tiny, tmp_path):
    model, tokenizer = der_tiny
    model.bfloat16()
    method, stored = second_slice(model, tokenizer, tmp_path)
    assert {value.dtype for value in stored.values()} == {torch.float16}
    shares = method.examples([Share(NEW, 1.0)], OLD)
    batch = collate(encode(shares[1].rows[:3], tokenizer, 64), model.device, [(1, 0), (1, 1), (1, 2)])
    penalty = method.penalty(model, batch, answer_logits(model, batch))
    assert penalty.dtype == torch.float32
    assert penalty > 0


def run(tmp_path, scratch, alpha, killed_at=None):
    model, tokenizer = build(SETTINGS, [f"{row['prompt']} {row['target']}" for row in [*OLD, *NEW]], seed=1)
    if not (tmp_path / "one").exists():
        (tmp_path / "one").mkdir()
        learn(model, tokenizer, tmp_path / "base", tmp_path / "one", OLD, rows=6)
    method = begun(model, tokenizer, tmp_path / "one", alpha=alpha, share=0.4)
    shares = method.examples([Share(NEW, 1.0)], OLD)
    data = Mixture(encoded(shares, tokenizer, 64, 10 * 192, 0), 192, 10, 0, model.device)

    def log(step, values):
        if step == killed_at:
            raise KeyboardInterrupt

    train(model, data, Schedule(10, 1e-2, 0.1, 3), methods=[method], scratch=scratch, log=log, seed=0)
    batch = collate(data.parts[1].sequences, model.device)
    origin = torch.cat([method.by_tokens(model)[tuple(sequence.ids)].float() for sequence in data.parts[1].sequences])
    with torch.no_grad():
        distance = float(nn.functional.mse_loss(answer_logits(model, batch), origin))
    return torch.cat([value.detach().flatten() for value in model.parameters()]), distance


def test_a_killed_run_ends_with_the_same_weights(tmp_path):
    whole, _ = run(tmp_path, tmp_path / "a", 0.5)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, tmp_path / "b", 0.5, killed_at=5)
    assert torch.equal(run(tmp_path, tmp_path / "b", 0.5)[0], whole)


def test_the_logits_stay_nearer_to_the_stored_ones_than_with_replay_alone(tmp_path):
    _, without = run(tmp_path, tmp_path / "a", 1e-9)
    _, with_alpha = run(tmp_path, tmp_path / "b", 20.0)
    assert with_alpha < 0.7 * without
