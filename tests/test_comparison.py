"""What an entry of the comparison is made of, and so when its results no longer hold."""

import pytest

from tasks import artifact, closure, comparison
from tasks.params import Slice, load_params
from tests.every_step import (
    EVALUATE,
    PRETRAIN,
    STAGE1,
    STAGE2,
    begin_examples,
    bring_examples,
    chained_examples,
    facts,
    same_weights,
)

PARAMS = load_params()


@pytest.fixture(params=["model", "model/model.safetensors"])  # a folder, and one file
def key(tmp_path, request):
    """The key of what all entries start from, as a process that begins now knows it."""
    begin_examples(tmp_path)
    bring_examples(tmp_path, "2020", facts(("Peru", "Lima")), "base")
    for place in ("raw/general/en.txt", "model/model.safetensors"):
        (tmp_path / place).parent.mkdir(parents=True)
        (tmp_path / place).write_text("Some content.")
    params = load_params()
    params = params.model_copy(
        update={"pretrain": params.pretrain.model_copy(update={"model": f"{tmp_path}/{request.param}"})}
    )

    def now():
        comparison._sum_of_files.cache_clear()
        return comparison._first_key(params, 20, tmp_path / "examples")

    return now


@pytest.mark.parametrize("place", ["raw/general/en.txt", "model/model.safetensors"])
def test_other_general_text_or_other_weights_make_other_results(tmp_path, key, place):
    before = key()
    assert key() == before
    (tmp_path / place).write_text("Other content.")
    assert key() != before
    (tmp_path / place).write_text("Some content.")
    assert key() == before


def test_results_belong_to_the_code_that_measures_their_cost():
    code = {path.name for path in closure.code_of(*comparison.STEPS, without=comparison.UNUSED)}
    assert {"cost.py", "flops.py", "stage1.py"} <= code and "retriever.py" not in code


class Killed(BaseException):
    """In the place of a kill: nothing in the house catches it."""


SLICES = {"one": facts(("Peru", "Lima"), ("Chile", "Santiago")), "two": facts(("Nepal", "Kathmandu"), ("Fiji", "Suva"))}
STEPS = 6


@pytest.fixture(scope="module")
def taken(tmp_path_factory):
    """Takes an entry through two slices; what it has cost, its folders, and the steps that were trained."""
    root = tmp_path_factory.mktemp("killed")
    examples = chained_examples(root, SLICES)
    every = STAGE1.model_copy(update={"steps": STEPS, "checkpoint_every": 2})
    fewer = PARAMS.comparison.model_copy(update={"first": (), "steps": STEPS, "seeds": (1,)})
    timeline = {"one": Slice(previous="base"), "two": Slice(previous="one")}
    changed = {"timeline": timeline, "pretrain": PRETRAIN, "stage1": every, "stage2": STAGE2, "evaluate": EVALUATE}
    params = PARAMS.model_copy(update={**changed, "comparison": fewer})

    def take(work, kill_at=()):
        """`kill_at`: a slice's name and a step of its first training."""
        at, steps = [""], []

        def begun(name, _):
            at[0] = name

        def log(step, values):
            steps.append((at[0], step))
            if (at[0], step) == kill_at:
                raise Killed

        comparison.take_through("forgotten", params, 1, examples, work, log, begun)
        folder = comparison.results("forgotten", params, 1, examples, work)[-1]
        return artifact.read_json(folder / comparison.COST), folder, steps

    return take, take(root / "whole")


@pytest.mark.parametrize("kill_at", [("base", 1), ("one", 5), ("two", 1), ("two", 5), ("two", STEPS)])
def test_what_was_killed_goes_on_and_costs_what_it_would_have_cost(tmp_path, taken, kill_at):
    take, (cost, folder, steps) = taken
    with pytest.raises(Killed):
        take(tmp_path, kill_at)
    again, other, later = take(tmp_path)
    assert same_weights(folder / "lm", other / "lm")
    assert artifact.read_json(folder / "scores/scores.json") == artifact.read_json(other / "scores/scores.json")
    for stage in ("stage1", "stage2", "evaluate"):
        assert again[stage]["flops"] == cost[stage]["flops"]
    assert again["stored_bytes"] == cost["stored_bytes"]
    name, step = kill_at
    trained = [number for each, number in later if each == name]
    assert trained[0] > 1 or step == 1  # at a checkpoint


@pytest.mark.parametrize("where", ["stage2.stage2", "evaluate.evaluate", "stored_bytes"])
def test_a_stage_that_is_finished_is_not_done_again(tmp_path, taken, monkeypatch, where):
    take, (cost, folder, _) = taken
    real = _named(where)

    def killing(*arguments):
        if any("forgotten/two" in str(each) for each in arguments):
            raise Killed
        return real(*arguments)

    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(f"tasks.comparison.{where}", killing)
        take(tmp_path)
    monkeypatch.setattr("tasks.comparison.stage1.stage1", None)  # can't be called
    again, other, _ = take(tmp_path)
    assert same_weights(folder / "lm", other / "lm") and again["stage1"]["flops"] == cost["stage1"]["flops"]


def _named(where):
    found = comparison
    for name in where.split("."):
        found = getattr(found, name)
    return found
