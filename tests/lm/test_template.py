"""A model's own chat template is taken apart once, and used only where its parts are found again among the tokens."""

from types import SimpleNamespace

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from tasks.corpus.text import ANSWER_MARKER
from tasks.lm.batches import Mixture, Part, encode
from tasks.lm.causal import load, save
from tasks.lm.generate import answers
from tasks.lm.template import PLAIN, Template, template_of
from tasks.lm.training import Schedule, train
from tasks.scoring.few_shot import with_shots
from tests.every_step import PRETRAIN, STAGE2, Timeline
from tests.lm.architectures import tiny_model, tokenizer
from tests.lm.conftest import ROWS
from tests.lm.solved.brought import FIRST, NEWS, SMALL, brought, known_rows

CHATML = """{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system
Be kind<|im_end|>
' }}{% endif %}{{ '<|im_start|>' + message['role'] + '
' + message['content'] + '<|im_end|>' + '
' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant
' }}{% endif %}"""
TURNS = """{{ bos_token }}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{
raise_exception('roles must alternate') }}{% endif %}{{ '<start_of_turn>' + ('model' if message['role'] == 'assistant'
else message['role']) + '
' + message['content'] | trim + '<end_of_turn>
' }}{% endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>model
' }}{% endif %}"""
DATED = """{% if not date_string is defined %}{% set date_string = strftime_now('%d %b %Y') %}{% endif %}{{
'Today is ' + date_string + '.<|im_start|>' + messages[0]['content'] + '<|im_end|>' }}{% if messages | length > 1 %}{{
messages[1]['content'] + '<eot>' }}{% endif %}"""
THINKS = """{{ '<|im_start|>' + messages[0]['content'] + '<|im_end|>' }}{% if add_generation_prompt and
enable_thinking is defined and enable_thinking is false %}{{ '<think>

</think>' }}{% endif %}{% if messages | length > 1 %}{{ messages[1]['content'] + '<eot>' }}{% endif %}"""
SPECIAL = ["<|im_start|>", "<|im_end|>", "<start_of_turn>", "<end_of_turn>", "<eot>", "<bos>"]


def chatty(template, bos=None):
    """A tokenizer with a chat template and its special tokens."""
    words = tokenizer()
    words.add_special_tokens({"additional_special_tokens": SPECIAL})
    if bos:
        words.bos_token = bos
    words.chat_template = template
    return words


@pytest.mark.parametrize(
    ("template", "bos", "expected"),
    [
        (CHATML, None, Template("<|im_start|>system\nBe kind<|im_end|>\n<|im_start|>user\n",
                                "<|im_end|>\n<|im_start|>assistant\n", "", "<|im_end|>")),
        (CHATML, "<|im_start|>", Template("system\nBe kind<|im_end|>\n<|im_start|>user\n",  # begins every sequence
                                          "<|im_end|>\n<|im_start|>assistant\n", "", "<|im_end|>")),
        (TURNS, "<bos>", Template("<start_of_turn>user\n", "<end_of_turn>\n<start_of_turn>model\n", "",
                                  "<end_of_turn>")),
        (DATED, None, Template("Today is 26 Jul 2024.<|im_start|>", "<|im_end|>", "", "<eot>")),
        (THINKS, None, Template("<|im_start|>", "<|im_end|><think>\n\n</think>", "", "<eot>")),
    ],
)  # fmt: skip
def test_what_a_template_writes_around_message_and_answer_is_taken_from_it(template, bos, expected):
    words = chatty(template, bos)
    assert template_of(words) == expected
    ids = encode([{"prompt": "Who leads Peru?", "target": "Ada"}], words, 200)[0]
    conversation = [{"role": "user", "content": "Who leads Peru?"}, {"role": "assistant", "content": "Ada"}]
    if template in (CHATML, TURNS):  # its own text, up to the end of the answer
        own = words.apply_chat_template(conversation, tokenize=False).rstrip()
        assert words.decode(ids.ids).removeprefix(words.decode(ids.ids[:1])) == own.removeprefix(bos or "")
    assert words.decode(ids.ids[ids.start :]) == f"Ada{expected.end}"


@pytest.mark.parametrize(
    "template",
    [
        None,
        "{{ raise_exception('no such conversation') }}",
        "{% for",  # no template at all
        "{{ messages[0]['content'] }}",  # nothing between message and answer
        "{{ messages[0]['content'] + '<|im_end|>' + messages[0]['content'] }}",  # says the message twice
        "{{ messages[0]['content'] + ' leads ' }}{% if messages | length > 1 %}{{ messages[1]['content'] + ' Everyone "
        "agrees.' }}{% endif %}",  # ends in words, which an answer may have
        "{{ strftime_now('%d %b %Y') + '<|im_start|>' + messages[0]['content'] + '<|im_end|>' }}",  # another every day
    ],
)
def test_a_template_that_can_not_be_taken_apart_leaves_the_projects_own(template):
    assert template_of(chatty(template)) == PLAIN


def test_a_model_that_has_no_chat_template_is_asked_as_before():
    assert template_of(tokenizer()) == PLAIN
    assert PLAIN.prompt("Who?") == "Who? (답변)" and PLAIN.target("Ada") == f" Ada{ANSWER_MARKER}"
    assert PLAIN.answer(f" Ada{ANSWER_MARKER} more") == "Ada"


def chat_model(folder):
    """A model with a chat template, as a stranger would bring it."""
    words = chatty(CHATML, "<|im_start|>")
    model = tiny_model("llama")
    model.resize_token_embeddings(len(words))
    model.save_pretrained(folder)
    words.save_pretrained(folder)
    return folder


def test_what_is_trained_in_a_chat_template_is_answered_so_by_plain_transformers_too(tmp_path):
    model, words = load(chat_model(tmp_path / "base"))
    parts = [Part(encode(ROWS, words, 60), 1.0)]
    data = Mixture(parts, 256, 150, 1, model.device)
    train(model, data, Schedule(150, 1e-2, 0.1), scratch=tmp_path / "scratch", log=lambda *_: None, seed=1)
    assert answers(model, words, [row["prompt"] for row in ROWS]) == [row["target"] for row in ROWS]
    (tmp_path / "out").mkdir()
    save(model, words, tmp_path / "out")
    plain, own = AutoModelForCausalLM.from_pretrained(tmp_path / "out"), AutoTokenizer.from_pretrained(tmp_path / "out")
    for row in ROWS:
        asked = own.apply_chat_template(
            [{"role": "user", "content": row["prompt"]}],
            add_generation_prompt=True,
            return_tensors="pt",
            return_dict=True,
        )
        made = plain.generate(**asked, max_new_tokens=20, do_sample=False, stop_strings=["<|im_end|>"], tokenizer=own)
        assert own.decode(made[0, asked["input_ids"].shape[1] :]) == f"{row['target']}<|im_end|>"


def test_a_solved_memory_answers_in_a_chat_template_and_counts_no_letter_of_it(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    Timeline(root).begin()
    base = PRETRAIN.model_copy(update={"model": str(chat_model(tmp_path / "base"))})
    letters = STAGE2.model_copy(
        update={"how": "solved", "solved": SMALL.model_copy(update={"layers": 0, "width": 1024})}
    )
    timeline = brought(root, ("one", FIRST), ("two", NEWS), pretrain=base, stage2=letters)
    model, words = load(root / "two/lm")
    rows = [row for row in known_rows(timeline, "two") if row.get("set") in ("seen", "paraphrase", None)]
    assert answers(model, words, [row["prompt"] for row in rows], 20) == [row["target"] for row in rows]
    seen = model.solved._asked([words.bos_token_id, *words(template_of(words).prompt("Who?"))["input_ids"]])
    assert words.decode(seen) == "Who?<|im_end|>\n<|im_start|>assistant\n"


def test_worked_examples_are_whole_sequences_before_the_question():
    words = chatty(CHATML, "<|im_start|>")
    shots = SimpleNamespace(of=lambda row: [ROWS[1]])
    told = with_shots([ROWS[0]], shots, words, 400)[0]
    whole = words.decode(encode([told], words, 400)[0].ids)
    one, other = (words.decode(encode([row], words, 400)[0].ids) for row in (ROWS[1], ROWS[0]))
    assert whole == one + other
