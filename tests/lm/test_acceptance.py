"""A model from outside that the pipeline can't learn with is refused when it is loaded, with one sentence."""

import json

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModel, BertConfig, BertLMHeadModel

from tasks.errors import BadInput
from tasks.lm import logits
from tasks.lm.acceptance import refuse_other_logits
from tasks.lm.causal import load, save
from tests.lm.architectures import RECURRENT, folder_of, tiny_model, tokenizer


@pytest.mark.parametrize("kind", ["cohere", "granite"])
def test_a_model_whose_logits_we_would_get_wrong_is_refused_by_name(kind, tmp_path, monkeypatch):
    folder_of(kind, tmp_path)
    monkeypatch.delitem(logits.SCALES, kind)  # as for an architecture that is not known here
    with pytest.raises(BadInput, match=rf"'{tmp_path}' \({kind.title()}ForCausalLM\) does something between its head"):
        load(tmp_path)


@pytest.mark.parametrize("kind", RECURRENT)
def test_a_recurrent_models_logits_are_known_too(kind):
    refuse_other_logits(tiny_model(kind, tied=False), kind)


def test_a_model_that_reads_ahead_is_no_causal_one(tmp_path, monkeypatch):
    folder_of("llama", tmp_path)
    monkeypatch.setattr("transformers.models.llama.modeling_llama.create_causal_mask", lambda **_: None)
    config = json.loads((tmp_path / "config.json").read_text()) | {"_attn_implementation": "eager"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(BadInput, match="reads what comes after a token"):
        load(tmp_path)


def test_a_masked_language_model_is_refused(tmp_path):
    config = BertConfig(
        vocab_size=330, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    )
    BertLMHeadModel(config).save_pretrained(tmp_path)
    tokenizer().save_pretrained(tmp_path)
    with pytest.raises(BadInput, match="BertLMHeadModel"):
        load(tmp_path)


def test_more_tokens_than_embeddings_are_refused(tmp_path):
    folder_of("llama", tmp_path)
    words = tokenizer()
    words.add_tokens([f"<extra{number}>" for number in range(9)])
    words.save_pretrained(tmp_path)
    with pytest.raises(
        BadInput, match=rf"has {len(words)} tokens and the model's embedding only {len(words) - 4} rows"
    ):
        load(tmp_path)


def test_a_backbone_without_its_head_is_refused(tmp_path):
    AutoModel.from_config(tiny_model("gpt_neox", tied=False).config).save_pretrained(tmp_path)
    tokenizer().save_pretrained(tmp_path)
    with pytest.raises(BadInput, match=r"lack 1 of those .*lm_head.weight"):
        load(tmp_path)


@pytest.mark.parametrize("target", ["q_proj", "lm_head"])
def test_an_adapters_folder_is_refused_with_the_way_to_merge_it(target, tmp_path):
    folder_of("llama", tmp_path / "base", tied=False)
    base, words = load(tmp_path / "base")
    wrapped = get_peft_model(base, LoraConfig(r=2, target_modules=[target]))
    wrapped.peft_config["default"].base_model_name_or_path = str(tmp_path / "base")
    wrapped.save_pretrained(tmp_path / "adapter")
    words.save_pretrained(tmp_path / "adapter")
    with pytest.raises(BadInput, match="Merge them first"):
        load(tmp_path / "adapter")


def test_weights_that_are_no_numbers_are_refused(tmp_path):
    model = tiny_model("llama")
    with torch.no_grad():
        model.model.norm.weight[0] = float("nan")
    model.save_pretrained(tmp_path)
    tokenizer().save_pretrained(tmp_path)
    with pytest.raises(BadInput, match=str(tmp_path)):
        load(tmp_path)


def test_what_is_loaded_is_saved_again_as_it_was(tiny, tmp_path):
    save(*tiny, tmp_path / "one")
    save(*load(tmp_path / "one"), tmp_path / "two")
    for name in ("model.safetensors", "config.json", "generation_config.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
