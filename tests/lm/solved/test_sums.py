from random import Random

import pytest
import torch

from tasks.errors import BadInput
from tasks.lm.solved import sums as module
from tasks.lm.solved.sums import Sums

WIDTH, CODES, WORDS = 64, 128, 50


def a_batch(seed, places=30):
    random = torch.Generator().manual_seed(seed)
    seen = torch.randint(0, 128, (places, WIDTH), generator=random).float()
    aims = torch.randint(-16, 17, (places, CODES), generator=random).float()
    return seen, aims, torch.bincount(torch.randint(0, WORDS, (99,), generator=random), minlength=WORDS)


def summed(*batches):
    sums = Sums.empty(WIDTH, CODES, WORDS)
    for batch in batches:
        sums.add(*batch)
    return sums


def same(one, other):
    return all(torch.equal(getattr(one, name), getattr(other, name)) for name in ("gram", "cross", "tokens")) and (
        (one.places, one.length) == (other.places, other.length)
    )


def test_sums_are_those_of_a_loop_to_the_last_unit():
    seen, aims, words = a_batch(1, places=3000)  # more than fit exactly into one product of floats
    sums = summed((seen, aims, words))
    assert torch.equal(sums.gram.long(), seen.long().T @ seen.long())
    assert torch.equal(sums.cross.long(), seen.long().T @ aims.long())


def test_order_and_shards_make_no_difference_at_all():
    batches = [a_batch(seed) for seed in range(6)]
    whole = summed(*batches)
    joined = tuple(torch.cat(each) for each in list(zip(*batches, strict=True))[:2])
    shards = [summed(*batches[at::4]) for at in range(4)]
    merged = summed()
    for shard in reversed(shards):
        merged.merge(shard)
    assert same(whole, summed(*reversed(batches)))
    assert same(whole, summed((*joined, sum(batch[2] for batch in batches))))
    assert same(whole, merged)


def test_a_thousand_steps_of_adding_and_erasing_leave_what_was_not_erased_and_it_is_positive_definite():
    random, kept, sums = Random(1), set(), Sums.empty(WIDTH, CODES, WORDS)
    for step in range(1000):
        if kept and random.random() < 0.5:
            gone = random.choice(sorted(kept))
            kept.remove(gone)
            sums.add(*a_batch(gone, places=2), sign=-1)
        else:
            kept.add(step)
            sums.add(*a_batch(step, places=2))
        if step % 100 == 99:
            torch.linalg.cholesky(sums.gram.double() + 1e-3 * torch.eye(WIDTH))
    assert same(sums, summed(*(a_batch(each, places=2) for each in sorted(kept))))


def test_half_of_what_is_symmetric_is_stored_and_all_comes_back(tmp_path):
    sums = summed(a_batch(1), a_batch(2))
    sums.save(tmp_path / "sums.safetensors")
    assert same(sums, Sums.load(tmp_path / "sums.safetensors"))
    numbers = WIDTH * (WIDTH + 1) // 2 + WIDTH * CODES + WORDS
    assert (tmp_path / "sums.safetensors").stat().st_size < 4 * numbers + 500


def test_sums_that_would_overflow_are_refused(monkeypatch):
    monkeypatch.setattr(module, "MOST_PLACES", 50)
    sums = summed(a_batch(1))
    with pytest.raises(BadInput, match="holds 50 places at most, and this slice brings it to 60"):
        sums.add(*a_batch(2))
