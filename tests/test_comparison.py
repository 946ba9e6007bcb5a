"""What an entry of the comparison is made of, and so when its results no longer hold."""

import pytest

from tasks import closure, comparison
from tasks.params import load_params
from tests.every_step import begin_examples, bring_examples, facts


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
