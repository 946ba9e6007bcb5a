import pytest

from tasks.lm.methods.rewarming import Rewarming
from tasks.lm.methods.seen import Seen
from tasks.method_params import Rewarming as RewarmingSettings


def factors(tiny, folder, settings, slices):
    """What the rate is multiplied by in each slice of a chain, at its first and its last step."""
    model, tokenizer = tiny
    found = []
    for number in range(slices):
        method = Rewarming(settings, seed=0)
        method.seen = Seen(slices=number)
        assert method.begin(model, tokenizer, folder) is model
        found.append((method.before_update(model, 0, 2.0) / 2, method.before_update(model, 99, 0.5) / 0.5))
    return found


def test_the_peak_falls_from_slice_to_slice_down_to_the_floor(tiny, tmp_path):
    found = factors(tiny, tmp_path, RewarmingSettings(name="rewarming", decay=0.5, floor=0.2), slices=5)
    assert found == [pytest.approx((value, value)) for value in (1.0, 0.5, 0.25, 0.2, 0.2)]


def test_a_base_that_was_pretrained_elsewhere_has_been_warmed_up_once():
    method = Rewarming(RewarmingSettings(name="rewarming", decay=0.5, floor=0.2), seed=0)
    method.seen = Seen(pretrained=True)
    assert method.before_update(None, 0, 2.0) == pytest.approx(1.0)


def test_a_decay_of_one_changes_nothing(tiny, tmp_path):
    assert factors(tiny, tmp_path, RewarmingSettings(name="rewarming", decay=1.0), slices=3) == [(1.0, 1.0)] * 3
