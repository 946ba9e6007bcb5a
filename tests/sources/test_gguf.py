"""A causal LM in one GGUF file becomes a folder whose model says the same."""

import gguf
import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from tasks.errors import BadInput
from tasks.lm.causal import load
from tasks.sources import hub
from tasks.sources.hub import folder_of

WIDTH, INNER, HEADS, LAYERS, POSITIONS = 32, 48, 2, 1, 64
LETTERS = [*"abcdefghijklmnopqrstuvwxyz0123456789Ġ?."]
SPECIAL = ["<|endoftext|>", "<|im_start|>"]
MERGES = ["0 1", "a b", "2 0"]


@pytest.fixture(scope="module")
def llama():
    config = LlamaConfig(
        vocab_size=len(SPECIAL) + len(LETTERS) + len(MERGES), hidden_size=WIDTH, intermediate_size=INNER,
        num_hidden_layers=LAYERS, num_attention_heads=HEADS, num_key_value_heads=HEADS, rope_theta=10000.0,
        max_position_embeddings=POSITIONS, tie_word_embeddings=True, rms_norm_eps=1e-5,
    )  # fmt: skip
    torch.manual_seed(1)
    return LlamaForCausalLM(config).eval()


def paired(weight):
    """llama.cpp's order of a head's rotary dimensions: neighbours make a pair, and not halves."""
    return weight.reshape(HEADS, 2, WIDTH // HEADS // 2, -1).transpose(0, 2, 1, 3).reshape(weight.shape)


def write(path, model, pre):
    """The model in the format's own terms, as its specification names them."""
    writer = gguf.GGUFWriter(path, "llama")
    for add, value in (
        (writer.add_context_length, POSITIONS), (writer.add_embedding_length, WIDTH), (writer.add_block_count, LAYERS),
        (writer.add_feed_forward_length, INNER), (writer.add_head_count, HEADS), (writer.add_head_count_kv, HEADS),
        (writer.add_layer_norm_rms_eps, 1e-5), (writer.add_rope_freq_base, 10000.0),
        (writer.add_rope_dimension_count, WIDTH // HEADS), (writer.add_tokenizer_model, "gpt2"),
        (writer.add_tokenizer_pre, pre), (writer.add_bos_token_id, 0), (writer.add_eos_token_id, 0),
        (writer.add_vocab_size, model.config.vocab_size),
    ):  # fmt: skip
        add(value)
    tokens = [*SPECIAL, *LETTERS, *(merge.replace(" ", "") for merge in MERGES)]
    writer.add_token_list(tokens)
    writer.add_token_types([3 if token in SPECIAL else 1 for token in tokens])
    writer.add_token_merges(MERGES)
    given = {name: value.numpy().astype(np.float32) for name, value in model.state_dict().items()}
    writer.add_tensor("token_embd.weight", given["model.embed_tokens.weight"])
    writer.add_tensor("output_norm.weight", given["model.norm.weight"])
    here, there = "blk.0", "model.layers.0"
    for name, other in (("attn_v", "self_attn.v_proj"), ("attn_output", "self_attn.o_proj"),
                        ("ffn_gate", "mlp.gate_proj"), ("ffn_up", "mlp.up_proj"), ("ffn_down", "mlp.down_proj"),
                        ("attn_norm", "input_layernorm"), ("ffn_norm", "post_attention_layernorm")):  # fmt: skip
        writer.add_tensor(f"{here}.{name}.weight", given[f"{there}.{other}.weight"])
    for name in ("q", "k"):
        writer.add_tensor(f"{here}.attn_{name}.weight", paired(given[f"{there}.self_attn.{name}_proj.weight"]))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.fixture
def places(monkeypatch, tmp_path):
    monkeypatch.setattr(hub, "MODELS", tmp_path / "models")
    return tmp_path / "models"


def test_the_folder_made_of_a_file_says_what_the_model_says_and_is_made_once(llama, tmp_path, places, monkeypatch):
    write(tmp_path / "tiny.gguf", llama, "default")
    folder = folder_of(tmp_path / "tiny.gguf", "pretrain.model")
    assert [folder] == list(places.iterdir())
    ids = torch.arange(12).remainder(llama.config.vocab_size)[None]
    plain = AutoModelForCausalLM.from_pretrained(folder)
    assert torch.allclose(plain(ids).logits, llama(ids).logits, atol=1e-5)
    model, tokenizer = load(tmp_path / "tiny.gguf")
    assert torch.allclose(model(ids).logits, llama(ids).logits, atol=1e-5)
    assert tokenizer.decode(tokenizer("ab 201.")["input_ids"]) == "ab 201."
    monkeypatch.setattr("tasks.sources.gguf.from_gguf", None)
    assert folder_of(tmp_path / "tiny.gguf", "pretrain.model") == folder


@pytest.mark.parametrize(("pre", "tokens"), [("default", 2), ("smollm", 3)])
def test_a_tokenizer_that_splits_digits_still_does(llama, tmp_path, places, pre, tokens):
    write(tmp_path / "tiny.gguf", llama, pre)
    tokenizer = AutoTokenizer.from_pretrained(folder_of(tmp_path / "tiny.gguf", "pretrain.model"))
    assert len(tokenizer("201", add_special_tokens=False)["input_ids"]) == tokens


@pytest.mark.parametrize("kept", [0, 4, 12, 300, 2000, -4000])
def test_a_file_that_is_cut_is_one_sentence(llama, tmp_path, places, kept):
    write(tmp_path / "broken.gguf", llama, "default")
    (tmp_path / "broken.gguf").write_bytes((tmp_path / "broken.gguf").read_bytes()[:kept])
    with pytest.raises(BadInput, match=r"broken\.gguf can't be read as a GGUF file"):
        folder_of(tmp_path / "broken.gguf", "pretrain.model")
    assert not list(places.iterdir())
