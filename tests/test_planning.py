"""Before a run it is said what it would take, and one that would die of it is refused with what would not."""

import pytest

from flows import run as running
from tasks import planning
from tasks.errors import BadInput
from tasks.lm.logits import compute_in
from tasks.params import load_params
from tasks.planning import memory_there, plan_of, refuse_what_does_not_fit
from tests.lm.architectures import folder_of


@pytest.fixture
def params(tmp_path):
    """Of a pretrained model that every slice trains."""
    folder_of("llama", tmp_path / "llama")
    known = load_params()
    changes = {
        "pretrain": known.pretrain.model_copy(update={"model": str(tmp_path / "llama")}),
        "stage2": known.stage2.model_copy(update={"how": "refit"}),
        "stage1": known.stage1.model_copy(update={"batch_tokens": 2**15}),
    }
    return known.model_copy(update=changes)


def test_a_plan_says_what_is_taken_by_what(params, tmp_path):
    plan = plan_of(params, tmp_path)
    lines = dict(plan.lines)
    assert lines["parameters"].endswith("all trained") and "AdamW's moments" in lines
    assert plan.needed < plan.there == memory_there() and not plan.problem
    assert lines["stage 1"].endswith("by a short trial")
    still = params.model_copy(update={"stage1": params.stage1.model_copy(update={"steps": 0})})
    lines = dict(plan_of(still, tmp_path).lines)
    assert lines["parameters"].endswith("none of them trained") and "AdamW's moments" not in lines


@pytest.mark.parametrize(("share", "change"), [(0.9, r"accumulate: 2\}"), (0.01, "Choose a smaller model")])
def test_what_does_not_fit_is_refused_with_the_smallest_change_that_does(params, tmp_path, monkeypatch, share, change):
    needed = plan_of(params, tmp_path).needed
    monkeypatch.setattr(planning, "memory_there", lambda: int(needed * share))
    with pytest.raises(BadInput, match=rf"would need .* of memory, and there are .*{change}"):
        refuse_what_does_not_fit(params, tmp_path)


def test_products_in_float32_over_a_base_in_bfloat16_are_refused_before_the_run(params, tmp_path):
    from tasks.adapter_params import LoRA

    params = params.model_copy(update={"methods": (LoRA(name="lora", base="bfloat16"),)})
    with pytest.raises(BadInput, match="set `precision: bfloat16` in params.yaml"):
        refuse_what_does_not_fit(params, tmp_path)
    assert ("less while they train") in dict(
        plan_of(params.model_copy(update={"precision": "bfloat16"}), tmp_path).lines
    )
    compute_in("float32")


def test_a_model_that_lora_finds_nothing_in_is_told_what_else_would_do(params, tmp_path, monkeypatch):
    needed, real = plan_of(params, tmp_path).needed, planning.sizes_of

    def no_layers(config, methods, tokens):
        if methods:
            raise BadInput("LoRA finds no layers to adapt")
        return real(config, methods, tokens)

    monkeypatch.setattr(planning, "sizes_of", no_layers)
    for share, told in ((0.9, "`stage1: {accumulate: 2}`."), (0.01, "Choose a smaller model, or a machine")):
        monkeypatch.setattr(planning, "memory_there", lambda share=share: int(share * needed))
        assert told in plan_of(params, tmp_path).problem


def test_what_can_not_be_taken_in_parts_gets_a_smaller_batch(params, tmp_path, monkeypatch):
    from tasks.method_params import DER

    params = params.model_copy(update={"methods": (DER(name="der"),)})
    needed = plan_of(params, tmp_path).needed
    monkeypatch.setattr(planning, "memory_there", lambda: int(0.9 * needed))
    assert plan_of(params, tmp_path).problem.endswith("It fits with `stage1: {batch_tokens: 16384}`.")


def test_rates_that_would_be_tried_with_all_weights_are_counted(params, tmp_path, monkeypatch):
    from tasks.adapter_params import LoRA

    adapted = {
        "methods": (LoRA(name="lora"),),
        "pretrain": params.pretrain.model_copy(update={"batch_tokens": 2**15}),
        "stage1": params.stage1.model_copy(update={"batch_tokens": 64}),
    }
    params = params.model_copy(update=adapted)
    plan = plan_of(params, tmp_path)
    assert dict(plan.lines)["trial of rates, at most"] != dict(plan.lines)["stage 1, at most"]
    monkeypatch.setattr(planning, "memory_there", lambda: int(0.9 * plan.needed))
    assert plan_of(params, tmp_path).problem.endswith("It fits with `pretrained: {learning_rates: [5e-06]}`.")
    one = params.model_copy(update={"pretrained": params.pretrained.model_copy(update={"learning_rates": (1e-4,)})})
    assert not plan_of(one, tmp_path).problem


def test_a_disk_that_is_too_small_is_told_before_the_first_slice(params, tmp_path, monkeypatch):
    monkeypatch.setattr(planning.shutil, "disk_usage", lambda _: planning.shutil._ntuple_diskusage(9, 9, 9))
    with pytest.raises(BadInput, match="would need about .* on the disk for 5 slices, and 0 MB are free"):
        refuse_what_does_not_fit(params, tmp_path)
    (tmp_path / "models").mkdir()
    refuse_what_does_not_fit(params, tmp_path)


def test_a_containers_limit_is_the_memory_that_is_there(tmp_path, monkeypatch):
    monkeypatch.setattr(planning, "CGROUP", tmp_path / "memory.max")
    whole = memory_there()
    (tmp_path / "memory.max").write_text("max\n")
    assert memory_there() == whole
    (tmp_path / "memory.max").write_text("1048576\n")
    assert memory_there() == 1048576


def test_a_run_asks_for_the_plan_of_a_pretrained_model_alone(params, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr("tasks.planning.refuse_what_does_not_fit", lambda params, root: asked.append(root))
    running._refuse_too_large(tmp_path)
    assert not asked
    monkeypatch.setattr(running, "load_params", lambda: params)
    running._refuse_too_large(tmp_path)
    assert asked == [tmp_path]


def test_a_method_beside_which_lora_can_not_stand_is_not_told_to_take_it(params, tmp_path, monkeypatch):
    from tasks.method_params import EWC

    params = params.model_copy(update={"methods": (EWC(name="ewc", strength=1.0),)})
    monkeypatch.setattr(planning, "memory_there", lambda: 1)
    assert plan_of(params, tmp_path).problem.endswith("Choose a smaller model, or a machine with more memory.")


def test_a_config_that_can_not_be_read_is_one_sentence_and_a_trial_that_fails_stops_no_run(
    params, tmp_path, monkeypatch
):
    (tmp_path / "llama/config.json").write_text('{"model_type": "nonsense"}')
    with pytest.raises(BadInput, match=r"The config of '.*llama' can't be read: .*Check pretrain\.model in params"):
        plan_of(params, tmp_path)
    folder_of("llama", tmp_path / "llama")
    monkeypatch.setattr(planning, "sizes_of", lambda *_: {}["no such layer"])
    with pytest.raises(planning.NotMeasured, match="LlamaConfig takes can't be tried"):
        plan_of(params, tmp_path)
    refuse_what_does_not_fit(params, tmp_path)
