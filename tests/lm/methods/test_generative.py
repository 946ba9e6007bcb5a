import copy

import pytest
import torch

from tasks.lm.batches import Mixture, Part, encode
from tasks.lm.causal import build, load, save
from tasks.lm.generate import answer
from tasks.lm.methods.generative import Generative, Writer, pseudo_rows, split, uncontradicted, with_whole
from tasks.lm.methods.method import Share
from tasks.lm.methods.seen import Seen
from tasks.lm.template import PLAIN
from tasks.lm.training import Schedule, train
from tasks.method_params import Generative as GenerativeSettings
from tests.lm.conftest import ROWS, SETTINGS, STATEMENTS


def settings(**given):
    return GenerativeSettings(name="generative", **({"rows": 150, "max_new_tokens": 30} | given))


def question(prompt, target, fact="b/0"):
    return {"id": f"{fact}/en/question0", "kind": "question", "prompt": prompt, "target": target, "fact": fact}


def statement(target, fact="b/0"):
    return {**question("", target, fact), "kind": "statement"}


@pytest.fixture(scope="module")
def taught(tmp_path_factory):
    """A tiny model that has learnt the six questions and statements as text; no test changes it."""
    rows = [*ROWS, *STATEMENTS]
    model, tokenizer = build(SETTINGS, [f"{row['prompt']} {row['target']}" for row in rows], seed=1)
    shares = with_whole([Share(rows, 1.0)], 0.5, 0)
    parts = [Part(encode(each.rows, tokenizer, 64), each.share) for each in shares]
    data = Mixture(parts, 256, 150, 3, model.device)
    scratch = tmp_path_factory.mktemp("taught")
    train(model, data, Schedule(150, 1e-2, 0.1), scratch=scratch, log=lambda *_: None, seed=0)
    return model, tokenizer


def begun(method, model, tokenizer, folder):
    method.steps = 10
    assert method.begin(model, tokenizer, folder) is model
    return method


def after_a_slice(taught, folder, **given):
    method = Generative(settings(**given), 0)
    method.seen = Seen(slices=1, own=1)
    return begun(method, *taught, folder)


def test_the_model_writes_its_own_old_questions_answers_and_statements(taught, rows, tmp_path):
    method = after_a_slice(taught, tmp_path)
    shares = method.examples([Share([question("Who leads Mars?", "Gus")], 1.0)], [])
    known = {(row["prompt"], row["target"]) for row in rows}
    made = [row for row in shares[1].rows if not row.get("whole")]
    assert len(made) >= 6
    assert len({(row["prompt"], row["target"]) for row in made}) == len(made)  # each once
    assert sum((row["prompt"], row["target"]) in known for row in made) > len(made) / 2
    assert {row["kind"] for row in made} == {"question", "statement"}
    assert {row["fact"] for row in made} == {None}


def whole_rows(rows):
    return [row for row in rows if row.get("whole")]


def test_fresh_and_generated_rows_have_their_shares_and_a_part_of_each_is_predicted_whole(taught, tmp_path):
    fresh = [question(f"Who leads Mars {number}?", "Gus") for number in range(60)]
    shares = after_a_slice(taught, tmp_path, share=0.4, lm_share=0.25).examples([Share(fresh, 1.0)], [])
    assert [each.share for each in shares] == pytest.approx([0.6, 0.4])
    assert shares[0].rows[:60] == fresh
    assert len(whole_rows(shares[0].rows)) == 20  # a quarter of the eighty
    assert all({**row, "whole": True} in whole_rows(shares[0].rows) or not row.get("whole") for row in shares[0].rows)
    asked = [row for row in shares[1].rows if row["prompt"]]
    assert len(whole_rows(asked)) / len(asked) == pytest.approx(0.25, abs=0.06)


def test_the_base_has_nothing_to_write_and_learns_to(taught, tmp_path):
    method = begun(Generative(settings(lm_share=0.5), 0), *taught, tmp_path)
    fresh = [question("Who leads Mars?", "Gus")]
    assert method.examples([Share(fresh, 1.0)], []) == [Share([*fresh, {**fresh[0], "whole": True}], 1.0)]


def test_a_slice_that_is_not_trained_writes_nothing(taught, tmp_path):
    method = after_a_slice(taught, tmp_path)
    method.steps = 0
    assert len(method.examples([Share([question("Who leads Mars?", "Gus")], 1.0)], [])) == 1


def test_a_whole_row_is_predicted_from_its_first_token_on(tiny):
    row = question("Who leads Mars?", "Gus")
    (share,) = with_whole([Share([row], 1.0)], 0.5, 0)
    given, all_of_it = encode(share.rows, tiny[1], 64)
    assert given.ids == all_of_it.ids
    assert all_of_it.start == 1 < given.start


def test_statements_are_predicted_whole_anyway():
    told = [Share([statement("Gus leads Mars.")], 1.0)]
    assert with_whole(told, 0.25, 0) == told


def test_it_is_the_same_on_a_rerun_another_with_another_seed_and_leaves_the_random_state_alone(taught, tmp_path):
    writer = Writer(*taught, settings())
    torch.manual_seed(1)
    state = torch.get_rng_state()
    once = writer.texts([[]] * 150, seed=7)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    assert writer.texts([[]] * 150, seed=7) == once
    assert writer.texts([[]] * 150, seed=8) != once


def test_texts_begin_as_the_slices_own_questions_do_and_go_on_with_what_the_model_knows(taught, rows):
    model, tokenizer = taught
    writer = Writer(model, tokenizer, settings())
    fresh = [question(f"Who leads {name}?", "Gus") for name in ("Mars", "Venus")]
    begun = writer.beginnings([*fresh, statement("Gus leads Mars.")], 100, seed=0)
    wordings = [tokenizer(PLAIN.prompt(row["prompt"]), add_special_tokens=False)["input_ids"] for row in fresh]
    assert len(begun) == 100
    assert all(any(ids == whole[: len(ids)] and len(ids) <= 1 + len(whole) / 2 for whole in wordings) for ids in begun)
    assert len({len(ids) for ids in begun}) > 1
    written = [split(text) for text in writer.texts(begun, 0)]
    known = {row["prompt"]: row["target"] for row in rows if row["prompt"]}
    assert sum(bool(pair) and known.get(pair[0]) == pair[1] for pair in written) > 30
    assert writer.beginnings([statement("Gus leads Mars.")], 100, seed=0) == []


def test_writing_changes_no_weight(taught):
    before = copy.deepcopy(taught[0].state_dict())
    pseudo_rows(Writer(*taught, settings()), settings(), [], 0)
    assert all(torch.equal(value, before[name]) for name, value in taught[0].state_dict().items())


def test_samples_follow_the_models_top_k_distribution(taught):
    """Frequencies of the first token against its softmax over the k likeliest, from one forward pass."""
    model, tokenizer = taught
    writer = Writer(model, tokenizer, settings(top_k=3, temperature=2.0, max_new_tokens=1))
    writer._text = lambda given, more: f"{more[0]} "  # the bare token
    count = 3000
    drawn = torch.bincount(
        torch.tensor([int(text) for text in writer.texts([[]] * count, 0)]), minlength=len(tokenizer)
    )
    logits, tokens = (model(torch.tensor([[writer.start]])).logits[0, -1] / 2.0).topk(3)
    for share, token in zip(logits.softmax(-1).tolist(), tokens.tolist(), strict=True):
        assert drawn[token] / count == pytest.approx(share, abs=4 * (share * (1 - share) / count) ** 0.5)
    assert int(drawn[tokens].sum()) == count


def test_answers_in_a_batch_are_those_that_the_model_gives_one_at_a_time(taught, rows):
    """Padding on the left must change nothing."""
    asked = [row["prompt"] for row in rows[:6]] + ["Who?", "Who leads Norway and Peru and Chile?"]
    texts = Writer(*taught, settings()).again([(prompt, "x") for prompt in asked])
    made = dict(split(text) for text in texts)
    assert {row["prompt"] for row in rows[:6]} <= made.keys()
    for prompt, given in made.items():
        assert given == answer(*taught, prompt, max_new_tokens=30)


class Told:
    """Writes what it is told to."""

    template = PLAIN

    def __init__(self, texts, again):
        self.told, self.told_again = texts, again

    def beginnings(self, fresh, count, seed):
        return []

    def texts(self, beginnings, seed):
        return self.told

    def again(self, pairs):
        self.asked = pairs
        return self.told_again


SAMPLED = ["Q1? (답변) one(답변 종료)", "Q2? (답변) two(답변 종료)", "A is B.", "A is B.", "C is D."]
SURE = ["Q1? (답변) one(답변 종료)", "Q2? (답변) three(답변 종료)", "A is B.", "C is E."]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"verify": False}, [("Q1?", "one"), ("Q2?", "two"), ("", "A is B."), ("", "C is D.")]),
        ({"verify": True}, [("Q1?", "one"), ("", "A is B.")]),
        ({"prompts_only": True}, [("Q1?", "one"), ("Q2?", "three"), ("", "A is B."), ("", "C is E.")]),
    ],
)
def test_a_row_is_kept_only_when_the_model_agrees_with_itself(given, expected):
    made = pseudo_rows(Told(SAMPLED, SURE), settings(**given), [], 0)
    assert [(row["prompt"], row["target"]) for row in made] == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Who? (답변) Ada(답변 종료)", ("Who?", "Ada")),
        ("Ada leads.", ("", "Ada leads.")),
        (" (답변) Ada(답변 종료)", None),
        ("Who? (답변) (답변 종료)", None),
        ("Who? (답변) (답변) Ada(답변 종료)", None),
        ("Ada leads(답변 종료)", None),
        ("Ada \ufffdleads.", None),
        ("", None),
    ],
)
def test_a_text_is_a_question_with_its_answer_or_a_statement(text, expected):
    assert split(text) == expected


def test_a_text_that_does_not_end_is_dropped(taught):
    whole = Writer(*taught, settings(max_new_tokens=30)).texts([[]] * 100, 0)
    short = Writer(*taught, settings(max_new_tokens=3)).texts([[]] * 100, 0)
    assert len(whole) > 80
    assert short == []


def test_what_the_fresh_rows_contradict_is_dropped():
    fresh = [question("Who leads Peru?", "Zoe"), statement("Zoe leads Peru."), statement("Peru has Zoe", "b/1")]
    fresh += [question("Who is Zoe?", "Peru", "b/2"), statement("Peru", "b/2")]  # nothing stands around this answer
    written = [
        question("Who leads Peru?", "Ben"),
        question("Who leads Chile?", "Cleo"),
        statement("Ben leads Peru."),
        statement("Ben leads Chile."),
        statement("Everyone agrees."),
    ]
    assert uncontradicted(written, fresh) == [written[1], written[3], written[4]]


def test_it_writes_the_same_after_saving_and_loading(taught, tmp_path):
    save(*taught, tmp_path / "model")
    assert Writer(*load(tmp_path / "model"), settings()).texts([[]] * 40, 0) == Writer(*taught, settings()).texts(
        [[]] * 40, 0
    )
