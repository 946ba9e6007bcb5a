"""Answers that are decoded together are those that are decoded alone; they end at the marker, and are whole."""

import json

import pytest
import torch
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from tasks.corpus.text import ANSWER_MARKER
from tasks.lm import generate, sound
from tasks.lm.batches import Mixture, Part, encode
from tasks.lm.causal import END, build
from tasks.lm.generate import EndMarker, Generated, answer, answers, fitting
from tasks.lm.sound import TEMPERATURE, Sampled, loop_of, markers_of, readable, sound_answer
from tasks.lm.template import PLAIN
from tasks.lm.training import Schedule, train
from tasks.scoring.answers import exact_matches
from tests.lm.conftest import ROWS, SETTINGS

MESSAGES = [
    "Who leads Norway?", "Peru", "Please tell me, if you know it, who leads Chile?", "Who leads Japan?", "?",
]  # fmt: skip
TEXTS = [f"{PLAIN.prompt(row['prompt'])}{PLAIN.target(row['target'])}" for row in ROWS]
LETTERS = pre_tokenizers.ByteLevel.alphabet()


def byte_level(texts):
    """As GPT-2's and Polyglot-Ko's: no marker is a token, and ".(" may be one."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer, bpe.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    bpe.train_from_iterator(
        texts, trainers.BpeTrainer(special_tokens=[END], initial_alphabet=LETTERS, vocab_size=400, show_progress=False)
    )
    return PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token=END)


def sentence_pieces(texts):
    """As Llama's and Gemma's: pieces with a mark for the space, bytes for what it does not know."""
    pieces = [END, "<unk>", *(f"<0x{byte:02X}>" for byte in range(256))]
    bpe = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
    bpe.normalizer = normalizers.Replace(" ", "▁")
    bpe.pre_tokenizer = pre_tokenizers.Split(Regex("▁"), "merged_with_next")
    bpe.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    letters = sorted(set("".join(texts).replace(" ", "▁")) - set("변종"))  # these two are bytes
    bpe.train_from_iterator(
        [text.replace("변", "").replace("종", "") for text in texts],
        trainers.BpeTrainer(
            special_tokens=pieces, initial_alphabet=letters, limit_alphabet=len(letters), vocab_size=400,
            show_progress=False,
        ),
    )  # fmt: skip
    written = json.loads(bpe.to_str())
    written["added_tokens"] = written["added_tokens"][:2]  # the bytes are pieces like others
    bpe = Tokenizer.from_str(json.dumps(written))
    return PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token=END, unk_token="<unk>")


@pytest.fixture(scope="module", params=["rotary positions", "learnt positions", "byte level", "sentence pieces"])
def taught(request, tmp_path_factory):
    """A tiny model that has learnt six answers, so that its answers end at different places."""
    model, tokenizer = build(SETTINGS, [f"{row['prompt']} {row['target']}" for row in ROWS], seed=1)
    if request.param != "rotary positions":
        foreign = {"byte level": byte_level, "sentence pieces": sentence_pieces}.get(request.param)
        tokenizer = foreign(TEXTS) if foreign else tokenizer
        torch.manual_seed(0)
        shape = {"n_positions": 64, "n_embd": 32, "n_layer": 2, "n_head": 2, "resid_pdrop": 0.0, "attn_pdrop": 0.0}
        model = GPT2LMHeadModel(GPT2Config(vocab_size=len(tokenizer), embd_pdrop=0.0, eos_token_id=0, **shape))
    steps = 300 if request.param == "sentence pieces" else 200
    data = Mixture([Part(encode(ROWS, tokenizer, 64), 1.0)], 96, steps, 3, model.device)
    train(model, data, Schedule(steps, 1e-2, 0.1), scratch=tmp_path_factory.mktemp("s"), log=lambda *_: None, seed=0)
    return model, tokenizer


@pytest.mark.parametrize("batch_tokens", [1, 100, 10_000])
def test_a_batch_of_messages_gets_the_answers_that_each_gets_alone(taught, batch_tokens):
    assert answers(*taught, MESSAGES, 12, batch_tokens) == [answer(*taught, message, 12) for message in MESSAGES]


def test_an_answer_in_a_batch_is_the_target_where_teacher_forcing_says_so(taught):
    said = answers(*taught, [MESSAGES[2], *(row["prompt"] for row in ROWS)])[1:]
    right = exact_matches(*taught, ROWS, 1000)
    assert [answer == row["target"] for answer, row in zip(said, ROWS, strict=True)] == right
    assert sum(right) == 6


def test_every_message_is_decoded_in_one_batch_if_there_is_room(taught, monkeypatch):
    sizes = []
    real = generate.continued
    monkeypatch.setattr(
        generate, "continued", lambda model, tokenizer, prompts, most: sizes.append(len(prompts)) or real(
            model, tokenizer, prompts, most)
    )  # fmt: skip
    answers(*taught, MESSAGES, 12, 10_000)
    assert sizes == [len(MESSAGES)]


def test_a_message_that_is_too_long_loses_its_beginning(taught):
    longer, shorter = ("word " * count + ROWS[0]["prompt"] for count in (200, 100))
    assert answers(*taught, [longer], 8) == answers(*taught, [shorter], 8)


def test_without_messages_there_are_no_answers(taught):
    assert answers(*taught, []) == []


def test_a_row_that_the_end_token_ends_is_not_padded_with_text(taught):
    model, tokenizer = taught
    end = model.generation_config.eos_token_id
    model.generation_config.eos_token_id = tokenizer(PLAIN.target("Ada"), add_special_tokens=False)["input_ids"][0]
    try:
        said = answers(model, tokenizer, [row["prompt"] for row in ROWS])
        alone = [answer(model, tokenizer, row["prompt"]) for row in ROWS]
    finally:
        model.generation_config.eos_token_id = end
    assert said == alone and "Ada" not in said[0]
    assert not any(str(tokenizer.pad_token) in each for each in said)


def test_generating_stops_at_the_marker_and_not_at_one_in_the_message(taught):
    model, tokenizer = taught
    made = []
    model.generate, real = lambda *given, **how: made.append(real(*given, **how)) or made[-1], model.generate
    try:
        said = answer(model, tokenizer, f"{ANSWER_MARKER} {ROWS[0]['prompt']}", 30)
        whole = answer(model, tokenizer, ROWS[0]["prompt"], 30)
    finally:
        model.generate = real
    assert whole == "Ada" and tokenizer.decode(made[1][0]).endswith(f"Ada{ANSWER_MARKER}")
    assert said


@pytest.mark.parametrize("tokenizer", [byte_level, sentence_pieces])
@pytest.mark.parametrize("before", ["Ada", "Ada.", "Ada ", "가", "?)", "🙂", ""])
def test_the_marker_is_seen_whatever_tokens_it_is_made_of_and_as_soon_as_it_is_there(tokenizer, before):
    foreign = tokenizer([*TEXTS, *["Ada.(답변 종료)"] * 3])
    prompt = foreign(f"Hi {ANSWER_MARKER}", add_special_tokens=False)["input_ids"]
    tokens = foreign(f"{before}{ANSWER_MARKER} x", add_special_tokens=False)["input_ids"]
    ends = EndMarker(foreign, len(prompt))
    seen = [bool(ends(torch.tensor([[*prompt, *tokens[:length]]]), None)[0]) for length in range(1, len(tokens) + 1)]
    whole = [ANSWER_MARKER in foreign.decode(tokens[:length]) for length in range(1, len(tokens) + 1)]
    assert seen.index(True) == whole.index(True)


def test_each_row_of_a_batch_ends_for_itself():
    foreign = byte_level(TEXTS)
    rows = [foreign(text, add_special_tokens=False)["input_ids"] for text in (f"Ada{ANSWER_MARKER}", "Ada (a) (b)")]
    longest = max(map(len, rows))
    ids = torch.tensor([[0] * (longest - len(row)) + row for row in rows])
    assert EndMarker(foreign, 0)(ids, None).tolist() == [True, False]


@pytest.fixture
def told(taught, monkeypatch):
    """Answers by a model that says what it is told to, attempt by attempt, and the seeds it was asked with."""
    seeds = []

    def by(*texts, attempts=3):
        def continued(model, tokenizer, prompts, most, sampled=None):
            seeds.append(sampled.random.initial_seed() if sampled else None)
            text = texts[len(seeds) - 1]
            return [Generated(text.removesuffix(CUT), ended=not text.endswith(CUT))]

        seeds.clear()
        monkeypatch.setattr(sound, "continued", continued)
        return sound_answer(*taught, "Hi", attempts=attempts), seeds

    return by


CUT = "..."
ROUND_AND_ROUND = "I like tea. I like tea. I like tea. I li" + CUT


def test_a_sound_greedy_answer_is_the_only_attempt(told):
    for text in ("Fine.", "Fine, and then it was cut off" + CUT, "ha ha ha ha ha ha ha ha ha", "반가워요\ufffd" + CUT):
        assert told(text) == (text.removesuffix(CUT).rstrip("\ufffd"), [None])


@pytest.mark.parametrize(
    "broken", ["", "a\ufffdb", "(답변) Hi", "### 답변: Hi", f"Hi {END}", ROUND_AND_ROUND, "하하" * 9 + CUT]
)  # fmt: skip
def test_an_empty_or_broken_answer_is_tried_again_with_a_seed_of_the_attempt(told, broken):
    assert told(broken, "Fine.") == ("Fine.", [None, 1])
    assert told(broken, broken, "Fine.") == ("Fine.", [None, 1, 2])


def test_after_the_last_attempt_the_first_readable_part_is_the_answer(told):
    assert told("", "(답변)", "((답변)답변) Hi\ufffd (답변", attempts=3) == ("Hi (답변", [None, 1, 2])
    assert told(ROUND_AND_ROUND, "b\ufffd", attempts=2) == ("I like tea.", [None, 1])
    assert told("\ufffd", f"{END}", attempts=2) == ("", [None, 1])


def test_what_is_drawn_again_is_the_same_each_time_and_leaves_torchs_own_draws_alone(tiny, monkeypatch):
    greedy = answer(*tiny, "Hi")
    monkeypatch.setattr(sound, "is_sound", lambda said, markers: said.text != greedy)
    state = torch.random.get_rng_state()
    said = sound_answer(*tiny, "Hi")
    assert said != greedy and sound_answer(*tiny, "Hi") == said
    assert torch.equal(torch.random.get_rng_state(), state)


def test_draws_follow_the_softmax_at_the_temperature():
    logits = torch.tensor([[1.0, 0.5, -0.5]]).repeat(20_000, 1)
    drawn = Sampled(1)(logits, logits).argmax(-1).bincount(minlength=3) / 20_000
    assert drawn.tolist() == pytest.approx((logits[0] / TEMPERATURE).softmax(-1).tolist(), abs=0.01)


@pytest.mark.parametrize(
    ("text", "repeated"),
    [
        ("a" * 20, 19),
        ("No. " + "so it is, " * 3 + "so", 23),
        ("so it is, so it is", 0),
        ("ha ha ha", 0),
        ("one two three four five six", 0),
        ("", 0),
    ],
)
def test_a_loop_is_what_only_repeats_itself_to_the_end(text, repeated):
    assert loop_of(text) == repeated


def test_no_marker_is_left_when_taking_one_out_brings_the_next_together(taught):
    markers = markers_of(taught[1])
    assert END in markers and "(답변)" in markers
    text = readable("<|endof(답변)text|>(답(답변)변)x", markers)
    assert text == "x"


def test_contexts_are_taken_whole_while_there_is_room_and_the_best_is_shortened_rather_than_lost(taught):
    model, tokenizer = taught

    def kept(*contexts):
        return fitting(model, tokenizer, list(contexts), "Who leads Peru?", 12)

    assert kept("Ben leads.", "Ada leads.") == ["Ben leads.", "Ada leads."]
    assert kept("Ben leads.", "Ada leads. " * 50, "Eve leads.") == ["Ben leads."]
    long = "Ben leads. " * 50
    (cut,) = kept(long)
    assert long.startswith(cut) and len(cut) > 10
    tokens = tokenizer(PLAIN.prompt(f"{cut} Who leads Peru?"), add_special_tokens=False)["input_ids"]
    assert len(tokens) <= 64 - 12 - 1
    assert kept("x", "y") == ["x", "y"] and fitting(model, tokenizer, ["x"], "word " * 100, 12) == []
