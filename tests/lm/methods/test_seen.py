import json

from tasks.lm.methods.seen import count_slice, slices_seen


def test_a_count_goes_from_slice_to_slice(tmp_path):
    assert slices_seen(tmp_path / "base", "l2") == 0
    before = tmp_path / "base"
    for number in range(3):
        after = tmp_path / f"slice-{number}"
        after.mkdir()
        count_slice(after / "method", "l2", slices_seen(before, "l2"))
        assert slices_seen(after, "l2") == number + 1
        before = after
    assert json.loads((before / "method" / "l2.json").read_text()) == {"slices": 3}
    assert slices_seen(before, "rewarming") == 0  # every method counts its own
