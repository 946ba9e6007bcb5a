"""Whatever a model's folder says of generation, an answer is what scoring finds likeliest, token by token."""

import json

import pytest
import torch

from tasks.corpus.text import ANSWER_MARKER
from tasks.lm.batches import Mixture, Part, encode
from tasks.lm.causal import build, load, save
from tasks.lm.generate import answers, continued, prompts_of
from tasks.lm.methods.generative import Writer
from tasks.lm.training import Schedule, train
from tasks.method_params import Generative
from tasks.scoring.answers import exact_matches
from tests.lm.conftest import ROWS, SETTINGS

# "ada ada" repeats itself: a penalty on what was there before changes the answer
ASKED = [{**ROWS[0], "target": "Ada Ada Ada Ada"}, *ROWS[1:]]
CONFIGS = {
    "repetition_penalty": {"repetition_penalty": 1.8},
    "encoder_repetition_penalty": {"encoder_repetition_penalty": 1.8},
    "no_repeat_ngram_size": {"no_repeat_ngram_size": 1},
    "num_beams": {"num_beams": 3, "length_penalty": 5.0, "early_stopping": True},
    "beam_groups": {"num_beams": 4, "num_beam_groups": 2, "diversity_penalty": 1.0},
    "sampling": {"do_sample": True, "temperature": 5.0, "top_k": 3, "top_p": 0.5},
    "invalid": {"do_sample": False, "temperature": 0.0, "num_return_sequences": 3},
    "min_length": {"min_length": 60, "min_new_tokens": 40},
    "max_length": {"max_length": 3},
    "forced_eos": {"forced_eos_token_id": 0},
    "forced_bos": {"forced_bos_token_id": 300},
    "suppress": {"suppress_tokens": "text", "begin_suppress_tokens": "text"},
    "bad_words": {"bad_words_ids": "texts"},
    "sequence_bias": {"sequence_bias": "biases"},
    "end_in_the_text": {"eos_token_id": "text"},
    "stop_strings": {"stop_strings": ["A"]},
    "decay": {"exponential_decay_length_penalty": [1, 4.0]},
    "guidance": {"guidance_scale": 3.0},
    "contrastive": {"penalty_alpha": 0.6, "top_k": 4},
    "dola": {"dola_layers": "high"},
    "lookup": {"prompt_lookup_num_tokens": 3},
    "watermark": {"watermarking_config": {"bias": 20.0, "seeding_scheme": "selfhash"}},
    "time": {"max_time": 0.0},
    "outputs": {"return_dict_in_generate": True, "output_scores": True, "output_attentions": True},
    "cache": {"use_cache": False, "cache_implementation": "static"},
}  # fmt: skip


@pytest.fixture(scope="module")
def taught():
    model, tokenizer = build(SETTINGS, [f"{row['prompt']} {row['target']}" for row in ASKED], seed=1)
    data = Mixture([Part(encode(ASKED, tokenizer, 64), 1.0)], 400, 80, 0, model.device)
    return model, tokenizer, data


@pytest.fixture(scope="module")
def folder(taught, tmp_path_factory):
    model, tokenizer, data = taught
    place = tmp_path_factory.mktemp("taught")
    train(model, data, Schedule(80, 1e-2, 0.1), scratch=place / "scratch", log=lambda *_: None, seed=0)
    save(model, tokenizer, place)
    return place


def written(config, tokenizer):
    """The config with the numbers of the tokens that spell the first answer."""
    text = [int(token) for token in tokenizer(" Ada", add_special_tokens=False)["input_ids"]]
    special = {"text": text, "texts": [[token] for token in text], "biases": [[[token], -50.0] for token in text]}
    return {name: special.get(value, value) if isinstance(value, str) else value for name, value in config.items()}


@pytest.mark.parametrize("name", CONFIGS)
def test_a_generation_config_changes_no_answer_and_stays_as_it_is(name, folder, taught, tmp_path):
    tokenizer = taught[1]
    for path in folder.iterdir():
        if path.is_file():
            (tmp_path / path.name).write_bytes(path.read_bytes())
    config = tmp_path / "generation_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | written(CONFIGS[name], tokenizer)))
    before = config.read_bytes()
    model, words = load(tmp_path)
    said = answers(model, words, [row["prompt"] for row in ASKED], 30)
    assert said[0] == "Ada Ada Ada Ada"
    rows = [{**row, "target": text} for row, text in zip(ASKED, said, strict=True)]
    assert all(exact_matches(model, words, rows, 400))
    settings = Generative(name="generative", max_new_tokens=30)
    found = Writer(model, words, settings).again([(row["prompt"], "") for row in ASKED])
    assert found == [
        f"{row['prompt']} (답변) {text}{ANSWER_MARKER}" for row, text in sorted_by_tokens(words, ASKED, said)
    ]
    assert config.read_bytes() == before
    save(model, words, tmp_path / "again")
    assert (tmp_path / "again" / "generation_config.json").read_bytes() == (
        folder / "generation_config.json"
    ).read_bytes()


def sorted_by_tokens(words, rows, said):
    length = [len(words(f"{row['prompt']} (답변)", add_special_tokens=False)["input_ids"]) for row in rows]
    return sorted(zip(rows, said, strict=True), key=lambda each: length[rows.index(each[0])])


def test_settings_of_generation_in_an_old_config_change_no_answer(folder, tmp_path):
    for path in folder.iterdir():
        if path.is_file() and path.name != "generation_config.json":
            (tmp_path / path.name).write_bytes(path.read_bytes())
    config = tmp_path / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"repetition_penalty": 1.8, "num_beams": 3}))
    model, words = load(tmp_path)
    assert answers(model, words, [ASKED[0]["prompt"]], 30) == ["Ada Ada Ada Ada"]


def test_a_text_still_ends_at_every_token_that_is_made_for_it(folder, tmp_path):
    for path in folder.iterdir():
        if path.is_file():
            (tmp_path / path.name).write_bytes(path.read_bytes())
    config = tmp_path / "generation_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"eos_token_id": [0, 1, 300]}))
    model, words = load(tmp_path)
    assert model.generation_config.eos_token_id == [0, 1]  # <|endoftext|> and <|pad|>; 300 is a piece of text
    with torch.no_grad():
        model.lm_head.weight[1] = 100 * model.lm_head.weight.abs().max()
        model.lm_head.weight[1] *= (
            model(torch.tensor([[0, 5]]), output_hidden_states=True).hidden_states[-1][0, -1].sign()
        )
    most, prompts = prompts_of(model, words, [ASKED[0]["prompt"]], 5)
    assert len(continued(model, words, prompts, most)[0].text) < 60
