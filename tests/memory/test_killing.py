from tests.memory.killing import sweep


def test_no_acknowledged_write_is_lost_or_doubled_however_writers_are_killed(tmp_path):
    """The long one is `make prove-memory`."""
    found = sweep(tmp_path, writes=1_000, kills=12, seed=1)
    assert found.acknowledged >= 1_000 and found.kills >= 12
    assert (found.lost, found.doubled, found.problems) == (0, 0, [])
    assert 0 <= found.unacknowledged <= found.kills
