"""The weights that are trained are float32, whatever the source has: small updates count."""

import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
from peft import LoraConfig
from safetensors.torch import load_file
from torch import nn
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

import tasks
from tasks.lm import logits
from tasks.lm.attention import attend
from tasks.lm.batches import Mixture, Part, encode
from tasks.lm.causal import limit_of, load, save
from tasks.lm.logits import precision
from tasks.lm.methods.lora import inject, layers_of
from tasks.lm.training import Schedule, train
from tests.lm.architectures import folder_of, tiny_model, tokenizer
from tests.lm.conftest import ROWS

ROOT = Path(__file__).parents[2]


def quiet(step, values):
    pass


@pytest.mark.parametrize("source", [torch.float32, torch.bfloat16, torch.float16])
def test_after_a_hundred_small_steps_all_weights_have_moved(source, tmp_path):
    tiny_model("llama").to(source).save_pretrained(tmp_path / "source")
    tokenizer().save_pretrained(tmp_path / "source")
    model, words = load(tmp_path / "source")
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    assert {value.dtype for value in before.values()} == {torch.float32}
    data = Mixture([Part(encode(ROWS, words, limit_of(model)), 1.0)], 400, 100, 0, model.device)
    train(model, data, Schedule(100, 1e-5, 0.1, checkpoint_every=200), scratch=tmp_path / "s", log=quiet, seed=0)
    used = torch.cat([data.batch(step).ids.unique() for step in range(100)]).unique()  # other words have no gradient
    for name, value in model.named_parameters():
        moved = value != before[name]
        moved = moved[used] if "embed" in name else moved
        assert moved.float().mean() > 0.99, name
    save(model, words, tmp_path / "out")
    assert {value.dtype for value in load_file(tmp_path / "out" / "model.safetensors").values()} == {torch.float32}


def test_what_lora_trains_is_float32_over_a_base_that_is_not():
    model = tiny_model("llama").to(torch.bfloat16)
    inject(model, LoraConfig(r=2, target_modules=["q_proj", "down_proj"]), seed=0)
    assert layers_of(model)
    trained = [value for value in model.parameters() if value.requires_grad]
    assert trained and all(value.dtype == torch.float32 for value in trained)
    model(input_ids=torch.tensor([[1, 2, 3]])).logits.sum().backward()
    assert all(value.grad.dtype == torch.float32 for value in trained)


@pytest.mark.parametrize("kind", ["mistral", "gemma2"])
def test_a_model_is_taken_in_though_products_are_to_be_in_bfloat16(kind, tmp_path, monkeypatch):
    folder_of(kind, tmp_path)
    monkeypatch.setitem(logits.COMPUTED_IN, "cpu", torch.bfloat16)
    load(tmp_path)
    assert logits.COMPUTED_IN["cpu"] == torch.bfloat16


GROWTH = """
import tasks
import torch
torch.set_num_threads(1)
layer = torch.nn.Linear(576, 1536)
def megabytes_after(shapes):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for rows in shapes:
            layer(torch.ones(rows, 576)).sum().backward()
    return int(open("/proc/self/statm").read().split()[1]) * 4096 / 2**20
before = megabytes_after(range(10, 40))
print(megabytes_after(range(200, 400)) - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="a process's memory is read from /proc")
def test_batches_of_ever_new_shapes_do_not_fill_the_memory_in_bfloat16():
    environment = {name: value for name, value in os.environ.items() if "CACHE_CAPACITY" not in name}
    grown = subprocess.run(
        [sys.executable, "-c", GROWTH], capture_output=True, text=True, check=True, env=environment, cwd=ROOT
    )
    assert float(grown.stdout) < 200  # on a processor with AMX by half a gigabyte where every shape is kept


def test_matrix_products_are_bfloat16_on_a_gpu_alone():
    layer = torch.nn.Linear(2, 2)
    with precision(torch.device("cpu")):
        assert layer(torch.ones(1, 2)).dtype == torch.float32
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # there need not be a GPU
        assert precision(torch.device("cuda")).fast_dtype == torch.bfloat16


@pytest.fixture
def in_bfloat16(monkeypatch):
    monkeypatch.setattr(logits, "COMPUTED_IN", dict(logits.COMPUTED_IN))
    logits.compute_in("bfloat16")


def test_on_a_processor_they_are_bfloat16_where_that_is_asked_for(in_bfloat16):
    layer = torch.nn.Linear(2, 2)
    with precision(torch.device("cpu")):
        assert layer(torch.ones(1, 2)).dtype == torch.bfloat16
    logits.compute_in("float32")
    with precision(torch.device("cpu")):
        assert layer(torch.ones(1, 2)).dtype == torch.float32


def trained_so(tmp_path, name, steps=60):
    """A tiny model after some steps; its weights, and how far it is from the rows."""
    model = tiny_model("llama")
    words = tokenizer()
    data = Mixture([Part(encode(ROWS, words, limit_of(model)), 1.0)], 400, steps, 0, model.device)
    schedule = Schedule(steps, 1e-2, 0.1, checkpoint_every=200)
    history = train(model, data, schedule, scratch=tmp_path / name, log=quiet, seed=0)
    return {key: value.detach().clone() for key, value in model.named_parameters()}, history


def test_training_in_bfloat16_keeps_float32_weights_learns_as_well_and_gives_the_same_bytes_again(
    in_bfloat16, tmp_path
):
    weights, history = trained_so(tmp_path, "a")
    assert {value.dtype for value in weights.values()} == {torch.float32}
    again, _ = trained_so(tmp_path, "b")
    assert all(torch.equal(value, again[name]) for name, value in weights.items())
    logits.compute_in("float32")
    plain, before = trained_so(tmp_path, "c")
    assert not all(torch.equal(value, plain[name]) for name, value in weights.items())
    assert history[-1]["loss"] < 0.1 * history[0]["loss"] and before[-1]["loss"] < 0.1 * before[0]["loss"]


@torch.no_grad()
def test_what_is_read_off_in_bfloat16_is_close(in_bfloat16):
    model = tiny_model("gemma2")
    ids = torch.arange(12)[None]
    close = logits.logits_of(model, logits.hidden_states(model, ids))
    logits.compute_in("float32")
    exact = logits.logits_of(model, logits.hidden_states(model, ids))
    assert close.dtype == torch.float32
    assert 0 < (close - exact).abs().max() < 0.05 * exact.abs().max()


def test_deterministic_algorithms_find_the_workspace_that_they_need_on_a_gpu():
    assert tasks.__file__ and os.environ["CUBLAS_WORKSPACE_CONFIG"] in (":4096:8", ":16:8")


@pytest.mark.parametrize("kind", ["llama", "gpt_neox"])
def test_attention_is_trained_in_float32_on_a_cpu_and_asked_in_bfloat16(kind, monkeypatch):
    real, cast = nn.functional.scaled_dot_product_attention, []

    def noted(query, *rest, **named):
        cast.append(query.dtype != torch.float32 or torch.is_autocast_enabled("cpu"))
        return real(query, *rest, **named)

    model, ids = tiny_model(kind), torch.tensor([[1, 2, 3, 4], [5, 6, 7, 8]])
    model.set_attn_implementation("sdpa")
    with monkeypatch.context() as patched, torch.autocast("cpu", dtype=torch.bfloat16):
        patched.setattr(nn.functional, "scaled_dot_product_attention", noted)
        trained = model(input_ids=ids).logits
        assert set(cast) == {False}
        cast.clear()
        with torch.no_grad():
            asked = model(input_ids=ids).logits
        assert set(cast) == {True}
    torch.testing.assert_close(trained.detach(), asked, atol=0.05, rtol=0.05)
    trained.float().sum().backward()
    assert all(torch.isfinite(value.grad).all() for value in model.parameters() if value.grad is not None)


def test_attention_in_float32_training_is_transformers_own():
    model, ids = tiny_model("llama"), torch.tensor([[1, 2, 3, 4]])
    model.set_attn_implementation("sdpa")
    ours = model(input_ids=ids).logits
    ALL_ATTENTION_FUNCTIONS.register("sdpa", sdpa_attention_forward)
    try:
        assert torch.equal(model(input_ids=ids).logits, ours)
    finally:
        ALL_ATTENTION_FUNCTIONS.register("sdpa", attend)
