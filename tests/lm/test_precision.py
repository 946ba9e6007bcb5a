"""The weights that are trained are float32, whatever the source has: small updates count."""

import os
import warnings

import pytest
import torch
from peft import LoraConfig
from safetensors.torch import load_file

import tasks
from tasks.lm.batches import Mixture, Part, encode
from tasks.lm.causal import limit_of, load, save
from tasks.lm.logits import precision
from tasks.lm.methods.lora import inject, layers_of
from tasks.lm.training import Schedule, train
from tests.lm.architectures import tiny_model, tokenizer
from tests.lm.conftest import ROWS


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


def test_matrix_products_are_bfloat16_on_a_gpu_alone():
    layer = torch.nn.Linear(2, 2)
    with precision(torch.device("cpu")):
        assert layer(torch.ones(1, 2)).dtype == torch.float32
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # there need not be a GPU
        assert precision(torch.device("cuda")).fast_dtype == torch.bfloat16


def test_deterministic_algorithms_find_the_workspace_that_they_need_on_a_gpu():
    assert tasks.__file__ and os.environ["CUBLAS_WORKSPACE_CONFIG"] in (":4096:8", ":16:8")
