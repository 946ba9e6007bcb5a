"""Tiny causal LMs of many architectures, with random weights and a tokenizer, as folders of plain transformers."""

import torch
from transformers import AutoConfig, AutoModelForCausalLM, set_seed

from tasks.lm.causal import build_tokenizer

TEXTS = ["Who leads Norway? (답변) Ada(답변 종료)", "Ben leads Peru. Everyone agrees."]
WIDTH, HEADS, LAYERS, POSITIONS = 32, 4, 2, 96
LLAMA = {
    "hidden_size": WIDTH, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "num_key_value_heads": 2,
    "intermediate_size": 48, "max_position_embeddings": POSITIONS,
}  # fmt: skip
GPT = {
    "n_embd": WIDTH, "n_layer": LAYERS, "n_head": HEADS, "n_positions": POSITIONS,
    "attn_pdrop": 0.0, "embd_pdrop": 0.0, "resid_pdrop": 0.0,
}  # fmt: skip
GEMMA = LLAMA | {"head_dim": 8, "query_pre_attn_scalar": 8, "sliding_window": 16}
MOE = {"num_local_experts": 2, "num_experts_per_tok": 1}

CONFIGS = {
    "gpt_neox": {name: size for name, size in LLAMA.items() if name != "num_key_value_heads"},
    "gpt2": GPT,
    "gptj": GPT | {"rotary_dim": 8},  # a head with a bias
    "gpt_neo": {"hidden_size": WIDTH, "num_layers": LAYERS, "num_heads": HEADS, "intermediate_size": 48,
                "max_position_embeddings": POSITIONS, "attention_types": [[["global", "local"], 1]],
                "embed_dropout": 0.0, "attention_dropout": 0.0, "resid_dropout": 0.0},
    "gpt_bigcode": GPT,
    "llama": LLAMA,
    "mistral": LLAMA | {"sliding_window": 16},
    "qwen2": LLAMA,
    "qwen3": LLAMA | {"head_dim": 8},
    "gemma": LLAMA | {"head_dim": 8},
    "gemma2": GEMMA | {"final_logit_softcapping": 2.0, "attn_logit_softcapping": 4.0},
    "gemma3_text": GEMMA | {"final_logit_softcapping": 2.0},
    "cohere": LLAMA | {"logit_scale": 0.25},
    "cohere2": LLAMA | {"logit_scale": 3.0, "sliding_window": 16},
    "granite": LLAMA | {"logits_scaling": 8.0, "embedding_multiplier": 3.0},
    "granitemoe": LLAMA | MOE | {"logits_scaling": 8.0},
    "hyperclovax": LLAMA | {"logits_scaling": 0.25},
    "minicpm3": LLAMA | {"num_key_value_heads": HEADS, "dim_model_base": 4, "q_lora_rank": 8, "kv_lora_rank": 8,
                         "qk_nope_head_dim": 8, "qk_rope_head_dim": 4, "v_head_dim": 8},
    "nanochat": LLAMA | {"final_logit_softcapping": 2.0},
    "vaultgemma": GEMMA | {"final_logit_softcapping": 2.0},
    "phi": LLAMA | {"num_key_value_heads": HEADS},  # a head with a bias
    "phi3": LLAMA,
    "glm": LLAMA | {"head_dim": 8},
    "mpt": {"d_model": WIDTH, "n_heads": HEADS, "n_layers": LAYERS, "max_seq_len": POSITIONS, "expansion_ratio": 2},
    "opt": {"hidden_size": WIDTH, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "ffn_dim": 48,
            "max_position_embeddings": POSITIONS, "word_embed_proj_dim": WIDTH, "dropout": 0.0},
    "bloom": {"hidden_size": WIDTH, "n_layer": LAYERS, "n_head": HEADS},
    "falcon": {"hidden_size": WIDTH, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS},
    "stablelm": LLAMA,
    "olmo": LLAMA,
    "olmo2": LLAMA,
    "starcoder2": LLAMA,
    "smollm3": LLAMA,
    "exaone4": LLAMA | {"sliding_window": 16},
}  # fmt: skip

RECURRENT = {  # slow here, so they are only compared
    "recurrent_gemma": {"hidden_size": WIDTH, "num_hidden_layers": 3, "num_attention_heads": HEADS, "lru_width": WIDTH,
                        "intermediate_size": 96, "attention_window_size": 16, "logits_soft_cap": 2.0},
    "falcon_h1": LLAMA | {"lm_head_multiplier": 0.25, "mamba_d_ssm": WIDTH, "mamba_n_heads": 4, "mamba_d_head": 8,
                          "mamba_d_state": 8, "mamba_n_groups": 1, "mamba_expand": 1, "mamba_chunk_size": 8},
}  # fmt: skip


def tokenizer():
    return build_tokenizer(TEXTS, 320)


def tiny_model(kind, tied=True, seed=0):
    """A causal LM of that kind; its head, or what the head and the embeddings share, has noticeable logits."""
    known = tokenizer()
    special = {"bos_token_id": known.eos_token_id, "eos_token_id": known.eos_token_id,
               "pad_token_id": known.pad_token_id}  # fmt: skip
    set_seed(seed)
    config = AutoConfig.for_model(
        kind, vocab_size=len(known) + 5, tie_word_embeddings=tied, **(CONFIGS | RECURRENT)[kind], **special
    )
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
    with torch.no_grad():  # random weights of 0.02 say the same of every word
        model.get_output_embeddings().weight.normal_(0, 0.7)
    return model


def folder_of(kind, folder, tied=True):
    """The folder of a model as a stranger would bring it, and the model."""
    model = tiny_model(kind, tied)
    model.save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return model
