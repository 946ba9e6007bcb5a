from random import Random

import torch

from tasks.lm.solved import sums as module
from tasks.lm.solved.features import HIGHEST
from tasks.lm.solved.sums import MOST_PLACES, Sums, places_in

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
    assert places_in(tmp_path / "sums.safetensors") == sums.places


def test_the_same_sums_are_the_same_bytes(tmp_path):
    sums = summed(a_batch(1))
    for number in range(20):
        sums.save(tmp_path / str(number))
    assert len({(tmp_path / str(number)).read_bytes() for number in range(20)}) == 1


def test_more_places_than_fit_in_32_bits_are_summed_exactly_in_64(tmp_path):
    seen, words = torch.full((MOST_PLACES + 1, WIDTH), float(HIGHEST)), torch.zeros(WORDS)
    sums = summed((seen, torch.ones(len(seen), CODES), words))
    largest = HIGHEST**2 * (MOST_PLACES + 1)
    assert largest > torch.iinfo(torch.int32).max
    assert sums.gram.unique().tolist() == [largest] and sums.cross.unique().tolist() == [HIGHEST * len(seen)]
    sums.save(tmp_path / "sums.safetensors")
    assert same(sums, Sums.load(tmp_path / "sums.safetensors"))


def test_the_bytes_are_those_of_what_is_in_the_sums_however_many_there_were_before(monkeypatch, tmp_path):
    monkeypatch.setattr(module, "MOST_PLACES", 50)
    few, many, merged = summed(a_batch(1)), summed(a_batch(1), a_batch(2)), summed(a_batch(1))
    merged.merge(summed(a_batch(2)))
    assert (few.gram.dtype, many.gram.dtype) == (torch.int32, torch.int64)
    for kind in (few, many, merged):
        assert kind.gram.dtype == kind.cross.dtype == kind.tokens.dtype
    assert same(many, merged)
    many.add(*a_batch(2), sign=-1)
    merged.merge(summed(a_batch(2)), sign=-1)
    for name, sums in (("few", few), ("less", many), ("parted", merged)):
        sums.save(tmp_path / name)
        assert (tmp_path / name).read_bytes() == (tmp_path / "few").read_bytes()
