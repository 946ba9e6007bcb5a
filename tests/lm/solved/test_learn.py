"""What a memory knows after any way of bringing it the same facts, through the steps of a tiny timeline."""

import json
import shutil

import numpy as np
import pytest
import torch

from tasks import artifact
from tasks.corpus.slices import load_examples, still_true, valid_facts
from tasks.errors import BadInput
from tasks.lm.batches import encode
from tasks.lm.causal import limit_of, load
from tasks.lm.generate import answers
from tasks.lm.solved.calibration import solve_for
from tasks.lm.solved.familiarity import doubts, is_known
from tasks.lm.solved.features import counted
from tasks.lm.solved.files import KEPT, SETTINGS, sums_in
from tasks.lm.solved.learn import Kept, add_rows, questions_of
from tasks.lm.solved.module import Memory, best_by_chance, memory_of
from tasks.lm.solved.solution import solve
from tasks.lm.solved.sums import Sums
from tasks.scoring.answers import exact_matches
from tests.every_step import MEMORIES, SEED, Timeline, facts, same_weights
from tests.lm.solved.brought import SMALL, SOLVED, answered, known_rows, logits, whole_again


def test_what_was_brought_is_known_and_the_backbone_stays(whole):
    rows = known_rows(whole)
    assert {row["target"] for row in rows} >= {"Cusco", "Pokhara", "Santiago", "Havana", "hi there"}
    right, _ = answered(
        whole.root / "three/lm", [row for row in rows if row.get("set") in ("seen", "paraphrase", None)]
    )
    assert all(right)
    for name in ("stage1", "lm"):
        for file in ("model.safetensors", "config.json", "tokenizer.json"):
            ours, first = (artifact.file_sum(whole.root / each / file) for each in (f"three/{name}", "one/stage1"))
            assert ours == first


def test_generation_with_a_cache_says_what_one_forward_pass_expects(whole):
    model, tokenizer = load(whole.root / "three/lm")
    rows = [row for row in known_rows(whole) if row.get("set") in ("seen", None)]
    prompts = [row["prompt"] for row in rows] + ["Hm?"]  # of other lengths, so that there is padding
    assert answers(model, tokenizer, prompts)[:-1] == [row["target"] for row in rows]
    long = {"prompt": "Tell me more.", "target": "one two three four five six seven."}
    sums = Sums.load(sums_in(whole.root / "three/lm", 0))  # more than two windows long
    memory = memory_of(model)
    add_rows(model, tokenizer, memory, sums, [long] * 3)
    memory.learn([solve(sums, memory.buckets[0].ridge).solution()], sums.tokens)
    assert len(tokenizer(long["target"])["input_ids"]) > 2 * SMALL.window
    assert answers(model, tokenizer, [long["prompt"], rows[0]["prompt"]]) == [long["target"], rows[0]["target"]]


@torch.no_grad()
def test_a_plain_forward_pass_that_goes_on_from_its_cache_gives_the_same_logits(whole):
    model, tokenizer = load(whole.root / "three/lm")
    model.eval()
    row = next(row for row in known_rows(whole) if row["target"] == "Pokhara")
    (sequence,) = encode([row], tokenizer, limit_of(model))
    ids = torch.tensor([sequence.ids])
    expected, cache, found = model(input_ids=ids).logits, None, []
    for part in ids.split([sequence.start - 2, 1, 1, len(sequence.ids) - sequence.start], 1):
        step = model(input_ids=part, past_key_values=cache, use_cache=True)
        cache = step.past_key_values
        found.append(step.logits)
    assert torch.allclose(torch.cat(found, 1), expected, atol=1e-3 * float(expected.abs().max()))
    memory_of(model).buckets = []
    assert not torch.allclose(model(input_ids=ids).logits, expected, atol=1.0)


def test_a_tokenizer_that_hides_where_an_answer_begins_is_refused(whole):
    model, tokenizer = load(whole.root / "three/lm")
    memory = memory_of(model)
    memory.marker = [memory.marker[-1], memory.marker[-1]]
    empty = Sums.empty(SMALL.width, SMALL.codes, len(tokenizer))
    with pytest.raises(
        BadInput, match="writes the beginning of an answer in other tokens behind '.*Hm.*' than by itself"
    ):
        add_rows(model, tokenizer, memory, empty, [{"prompt": "Hm?", "target": "Yes."}])


def test_what_was_taught_is_known_in_other_words_too_and_what_was_not_is_doubted_more(whole):
    model, tokenizer = load(whole.root / "three/lm")
    taught = [row["prompt"] for row in known_rows(whole) if row.get("set") in ("seen", "paraphrase")]
    strange = ["Which colour has the sky over Mars?", "Zzz", "What do you think of it all?"]
    about = doubts(model, tokenizer, taught + strange)
    assert about[: len(taught)].max() < about[len(taught) :].min()
    seen = [row["prompt"] for row in known_rows(whole) if row.get("set") == "seen"]  # of older slices as well
    assert all(is_known(model, tokenizer, prompt) for prompt in seen)
    assert not is_known(model, tokenizer, strange[0])


def test_letters_alone_are_learnt_without_a_forward_pass_and_said_with_any(whole, monkeypatch):
    model, tokenizer = load(whole.root / "one/stage1")
    rows = [
        {"prompt": asked.format(name), "target": leader}
        for name, leader in (("Oz", "Tip"), ("Ix", "Lin Mao"), ("Ur", "Ada"))
        for asked in ("Who leads {}?", "The leader of {}?", "Tell me who leads {}.")
    ]
    settings = SMALL.model_copy(update={"layers": 0})
    memory = Memory(model, tokenizer, settings, counted([row["prompt"] for row in rows]))
    sums = Sums.empty(settings.width, settings.codes, len(tokenizer))
    with monkeypatch.context() as patch:
        patch.setattr(type(model.base_model), "forward", None)
        add_rows(model, tokenizer, memory, sums, rows)
        solve_for(model, tokenizer, memory, Kept([sums]), {0: [{**row, "fact": None} for row in rows]}, 0)
    assert answers(model, tokenizer, ["Who leads Ix?", "who leads oz"]) == ["Lin Mao", "Tip"]


def test_the_best_by_chance_is_the_mean_of_maxima():
    numbers = np.random.default_rng(0)
    for count in (500, 5000):
        assert numbers.standard_normal((2000, count)).max(1).mean() == pytest.approx(best_by_chance(count), rel=0.02)
    assert best_by_chance(1) == 0.0 < best_by_chance(2)


def test_where_no_answer_can_be_read_the_backbone_speaks_alone(whole):
    model, tokenizer = load(whole.root / "three/lm")
    memory = memory_of(model)
    noise = torch.randn(64, SMALL.codes, generator=torch.Generator().manual_seed(1))
    assert memory.legible(noise, memory.read(noise)).float().mean() < 0.1
    taught = [row for row in known_rows(whole) if row.get("set") == "seen"]
    alone = load(whole.root / "three/lm", remember=False)
    assert not torch.allclose(logits(model, tokenizer, taught), logits(*alone, taught), atol=1.0)
    memory.legible = lambda predicted, answer: torch.zeros(len(predicted))
    assert torch.equal(logits(model, tokenizer, taught), logits(*alone, taught))


def test_of_plain_text_the_logits_are_the_backbones_own_to_the_last_bit(whole):
    text = [{"prompt": "", "target": "A calm note of a quiet day in Lima, where nothing happened."}]
    assert torch.equal(
        answered(whole.root / "three/lm", text)[1], logits(*load(whole.root / "three/lm", remember=False), text)
    )


def test_other_orders_one_batch_and_shards_give_the_same_model(whole, begun, tmp_path):
    rows = [row for row in known_rows(whole) if row["prompt"]]
    right, expected = answered(whole.root / "three/lm", rows)
    model, tokenizer = load(whole.root / "three/lm")
    memory, folder = memory_of(model), whole.root / "examples"
    slices = {name: load_examples(folder / name) for name in ("one", "two", "three")}
    valid = valid_facts(list(slices.values()))
    by_slice = [
        still_true(questions_of(each.train, SMALL, folder / name, SEED), valid) for name, each in slices.items()
    ]
    every = [row for rows_of_one in by_slice for row in rows_of_one]
    ways = [[by_slice[2], by_slice[0], by_slice[1]], [by_slice[1], by_slice[2], by_slice[0]], by_slice[::-1], [every]]
    ways.append([every[at::4] for at in range(4)])
    for way in ways:
        total = Sums.empty(SMALL.width, SMALL.codes, len(tokenizer))
        for shard in way:
            part = Sums.empty(SMALL.width, SMALL.codes, len(tokenizer))
            add_rows(model, tokenizer, memory, part, shard)
            total.merge(part)
        own = Sums.load(sums_in(whole.root / "three/lm", 0))
        assert total.places == own.places and torch.equal(total.tokens, own.tokens)
        before = memory.buckets[0]
        memory.learn([solve(total, before.ridge).solution()], total.tokens)
        memory.buckets[0].half = before.half  # the voice is set by the newest slice's rows
        assert exact_matches(model, tokenizer, rows, 2048) == right
        assert (logits(model, tokenizer, rows) - expected).abs().max() < 1e-3 * expected.abs().max()


def test_an_overridden_fact_is_as_if_it_had_never_been_learnt(whole, begun, tmp_path):
    kept = artifact.read_json(whole.root / "three/lm" / KEPT / "facts.json")
    assert set(kept) == {"one/3", "one/4", "two/2", "three/2", "three/3"}
    model, tokenizer = load(whole.root / "three/lm")
    stale = {"prompt": "Peru, capital?", "target": "Lima"}
    assert exact_matches(model, tokenizer, [stale, {**stale, "target": "Cusco"}], 2048) == [False, True]


def test_fewer_wordings_are_fewer_rows_and_what_is_overridden_is_still_taken_out(begun, tmp_path):
    shutil.copytree(begun, tmp_path / "root")
    few = SOLVED.model_copy(update={"solved": SMALL.model_copy(update={"wordings": 2, "variations": 1})})
    timeline = Timeline(tmp_path / "root", stage2=few)
    news = facts(("Peru", "Cusco"), ("Nepal", "Doti"))  # of few tokens: a place each
    for name, files, before in (("one", facts(("Peru", "Lima"), ("Chile", "Arica")), "base"), ("two", news, "one")):
        timeline.bring_examples(name, files, before)
        timeline.bring_model(name, before)
        rows = questions_of(load_examples(timeline.root / "examples" / name).train, few.solved, tmp_path, SEED)
        assert len(rows) == 2 * 2 * 2  # two facts, two wordings, as they are and varied
    assert set(artifact.read_json(timeline.root / "two/lm" / KEPT / "facts.json")) == {"one/3", "two/2", "two/3"}
    assert Sums.load(sums_in(timeline.root / "two/lm", 0)).places == 3 * 4


def test_what_cant_be_rendered_as_it_was_learnt_is_refused(whole, tmp_path):
    root = tmp_path / "root"
    shutil.copytree(whole.root, root)
    path = root / "one/lm" / KEPT / "facts.json"
    path.write_text(json.dumps(dict.fromkeys(artifact.read_json(path), "0")))
    timeline = Timeline(root, stage2=SOLVED)
    whole_again(root / "one/lm")
    with pytest.raises(BadInput, match=r"learnt 'Peru, capital, Lima' \(one/2\) from other wordings .* at one, or run"):
        timeline.bring_model("two", "one")


def test_other_sizes_and_another_backbone_are_refused(whole, tmp_path):
    root = tmp_path / "root"
    shutil.copytree(whole.root, root)
    wider = SOLVED.model_copy(update={"solved": SMALL.model_copy(update={"width": 1024})})
    with pytest.raises(BadInput, match="begun with width 512, .* now says width 1024, .* from its oldest slice"):
        Timeline(root, stage2=wider).bring_model("two", "one")
    path = root / "one/lm" / SETTINGS
    path.write_text(path.read_text().replace('"backbone": "', '"backbone": "0'))
    whole_again(root / "one/lm")
    with pytest.raises(BadInput, match="backbone in .*two/stage1 is not the one that its solved memory was made with"):
        Timeline(root, stage2=SOLVED).bring_model("two", "one")


def test_a_slice_of_memories_alone_hands_the_memory_on_and_the_naive_reference_has_none(whole, tmp_path):
    root = tmp_path / "root"
    shutil.copytree(whole.root, root)
    timeline = Timeline(root, stage2=SOLVED)
    timeline.bring_examples("four", MEMORIES, "three")
    timeline.bring_model("four", "three")
    assert same_weights(root / "four/lm", root / "three/lm")
    for name, before in (("one", "base"), ("two", "one")):
        timeline.bring_retriever(name)
        timeline.bring_scores(name, before)
    assert not (root / "two/naive" / SETTINGS).exists()
    assert not same_weights(root / "two/naive", root / "one/lm")
    scores, page = timeline.scores("two"), timeline.report()
    assert {kind: scores["familiarity"][kind]["known"] for kind in ("accuracy", "everyday_accuracy")} == {
        "accuracy": 3, "everyday_accuracy": 3,
    }  # fmt: skip
    assert 0.5 < scores["familiarity"]["accuracy"]["auroc"] <= 1
    # stage 1 hands the model on, so its answers are those of the model before
    assert scores["stage1"]["accuracy"]["two"] == scores["previous"]["accuracy"]["two"] == 0.0
    assert scores["stage1"]["accuracy"]["one"] == 1.0 == 1 - scores["familiarity"]["risk"][0][1]
    assert scores["memory"]["places"] == Sums.load(sums_in(root / "two/lm", 0)).places
    assert 0.9 < scores["memory"]["reproduced"] <= 1
    assert (
        "The solved memory" in page
        and "on the oldest slice, and hands it on" in page
        and "What it does not know" in page
        and "unknown:" in page
        and (root / "plots/familiarity.png").exists()
    )
