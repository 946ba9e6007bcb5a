import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, OPTConfig, OPTForCausalLM

from tasks.errors import BadInput
from tasks.lm.batches import Mixture, Part, encode
from tasks.lm.blocks import blocks_of
from tasks.lm.methods.freezing import FrozenBackbone, FrozenBottom
from tasks.lm.methods.seen import Seen
from tasks.lm.training import Schedule, train
from tasks.method_params import FrozenBackbone as FrozenBackboneSettings
from tasks.method_params import FrozenBottom as FrozenBottomSettings

BACKBONE = FrozenBackboneSettings(name="frozen_backbone")
BOTTOM = FrozenBottomSettings(name="frozen_bottom", layers=1)


def gpt2(tied=True):
    return GPT2LMHeadModel(
        GPT2Config(vocab_size=320, n_positions=64, n_embd=16, n_layer=3, n_head=2, tie_word_embeddings=tied)
    )


def llama():
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2}
    return LlamaForCausalLM(LlamaConfig(vocab_size=320, **sizes, num_key_value_heads=2, tie_word_embeddings=False))


def after(slices, method):
    """The method as it comes to a model that has learnt so many slices."""
    method.seen = Seen(slices=slices)
    return method


def moved_by_training(model, tokenizer, rows, methods, scratch):
    """The names of the parameters (a tied one under both) that three steps change."""
    before = {name: value.detach().clone() for name, value in model.named_parameters(remove_duplicate=False)}
    data = Mixture([Part(encode(rows, tokenizer, 64), 1.0)], 128, 3, 0, model.device)
    train(model, data, Schedule(3, 1e-2, 0.1), methods=methods, scratch=scratch, log=lambda *_: None, seed=0)
    after = dict(model.named_parameters(remove_duplicate=False))
    return {name for name in after if not torch.equal(after[name], before[name])}


@pytest.mark.parametrize(
    ("kind", "settings"), [(FrozenBackbone, BACKBONE), (FrozenBottom, BOTTOM)], ids=["backbone", "bottom"]
)
def test_the_slice_from_the_base_warms_up_everything(tiny, rows, tmp_path, kind, settings):
    model, tokenizer = tiny
    method = kind(settings, seed=0)
    method.begin(model, tokenizer, tmp_path / "base")
    moved = moved_by_training(model, tokenizer, rows, [method], tmp_path / "scratch")
    assert moved == {name for name, _ in model.named_parameters()}


@pytest.mark.parametrize("make", [None, gpt2], ids=["gpt-neox", "tied gpt-2"])
def test_after_the_first_slice_only_the_head_learns(tiny, rows, tmp_path, make):
    model, tokenizer = tiny
    model = make() if make else model
    method = after(1, FrozenBackbone(BACKBONE, seed=0))
    method.begin(model, tokenizer, tmp_path)
    head = next(name for name, value in model.named_parameters() if value is model.get_output_embeddings().weight)
    assert moved_by_training(model, tokenizer, rows, [method], tmp_path / "scratch") == {head}
    assert not model.config.tie_word_embeddings


def test_the_number_of_warm_slices_is_a_choice(tiny, tmp_path):
    model, tokenizer = tiny
    two = FrozenBackboneSettings(name="frozen_backbone", warm_slices=2)
    after(1, FrozenBackbone(two, seed=0)).begin(model, tokenizer, tmp_path)
    assert all(value.requires_grad for value in model.parameters())
    after(2, FrozenBackbone(two, seed=0)).begin(model, tokenizer, tmp_path)
    assert [value.requires_grad for value in model.parameters()].count(True) == 1


@pytest.mark.parametrize(
    ("make", "frozen"),
    [
        (None, ("gpt_neox.embed_in.", "gpt_neox.layers.0.")),
        (gpt2, ("transformer.wte.", "transformer.wpe.", "transformer.h.0.")),
        (llama, ("model.embed_tokens.", "model.layers.0.")),
    ],
    ids=["gpt-neox", "tied gpt-2", "llama"],
)
def test_after_the_first_slice_the_bottom_stays_and_all_else_learns(tiny, rows, tmp_path, make, frozen):
    model, tokenizer = tiny
    model = make() if make else model
    method = after(1, FrozenBottom(BOTTOM, seed=0))
    method.begin(model, tokenizer, tmp_path)
    moved = moved_by_training(model, tokenizer, rows, [method], tmp_path / "scratch")
    assert moved == {name for name, _ in model.named_parameters() if not name.startswith(frozen)}
    assert "lm_head.weight" in moved  # a tied one, too


def test_blocks_are_found_wherever_they_lie():
    opt = OPTForCausalLM(
        OPTConfig(vocab_size=99, hidden_size=16, word_embed_proj_dim=16, ffn_dim=32, num_hidden_layers=3,
                  num_attention_heads=2, max_position_embeddings=32)
    )  # fmt: skip
    assert blocks_of(opt) is opt.model.decoder.layers


def test_blocks_that_hold_lists_of_modules_are_still_the_blocks():
    model = gpt2()
    for block in model.transformer.h:
        block.experts = torch.nn.ModuleList([torch.nn.Linear(2, 2)])
    assert blocks_of(model) is model.transformer.h


def test_a_model_with_two_lists_of_modules_is_refused():
    model = gpt2()
    model.transformer.more = torch.nn.ModuleList([torch.nn.Linear(2, 2)])
    with pytest.raises(BadInput, match="2 lists"):
        blocks_of(model)


def test_more_layers_than_there_are_is_the_users_mistake_even_while_warming_up(tiny, tmp_path):
    model, tokenizer = tiny
    with pytest.raises(BadInput, match="3 blocks of a model that has 2"):
        FrozenBottom(FrozenBottomSettings(name="frozen_bottom", layers=3), 0).begin(model, tokenizer, tmp_path)
