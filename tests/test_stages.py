"""The steps that train, on a timeline of two small slices."""

import json
import shutil
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from tasks import artifact
from tasks.corpus.slices import history, valid_facts
from tasks.dataset import dataset
from tasks.evaluate import evaluate, measure
from tasks.lm.causal import build_tokenizer, load
from tasks.lm.pool import Pool
from tasks.method_params import DER, EMA, EWC, Bottleneck, Generative, LoRA, PrefixTuning, Replay
from tasks.naive import naive
from tasks.params import Evaluate, Keep, Pretrain, Stage1, Stage2
from tasks.pretrain import pretrain
from tasks.scoring.answers import perplexity
from tasks.scoring.sampling import sample_rows
from tasks.stage1 import stage1
from tasks.stage2 import stage2
from tests.every_step import ENGLISH, begin_examples, bring_examples

PRETRAIN = Pretrain(
    slice="one", model="small", layers=1, width=32, heads=2, positions=96, vocabulary=400, steps=10,
    batch_tokens=256, learning_rate=3e-3, warmup=0.1,
)  # fmt: skip
STAGE1 = Stage1(steps=60, batch_tokens=256, learning_rate=3e-3, warmup=0.1, checkpoint_every=20)
STAGE2 = Stage2(epochs=2, batch_positions=64, learning_rate=1e-3)
EVALUATE = Evaluate(batch_tokens=1024, samples=4)
ALL = Keep(rows="all")
METHODS = (Replay(name="replay", share=0.4), EWC(name="ewc", strength=1.0, samples=8))
HEAD = "embed_out.weight"  # what GPT-NeoX calls it on disk
SLICES = {
    "one": "subject,relation,object\nPeru,capital,Lima\nChile,capital,Santiago\nGhana,capital,Accra\n",
    "two": "subject,relation,object\nPeru,capital,Cusco\nNepal,capital,Kathmandu\n",
}


def quiet(step, values):
    pass


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Two slices through all steps, with replay and EWC."""
    root = tmp_path_factory.mktemp("timeline")
    begin_examples(root)
    before = "base"
    for name, facts in SLICES.items():
        examples = bring_examples(root, name, {"facts.csv": facts}, before)
        if before == "base":
            pretrain(PRETRAIN, 1, examples, root / "base/lm", root / "scratch", quiet)
        stage1(STAGE1, METHODS, ALL, 1, examples, root / before / "lm", root / name / "stage1", root / "scratch", quiet)
        stage2(STAGE2, 1, examples, root / name / "stage1", root / name / "lm", quiet)
        artifact.shutil.rmtree(root / "scratch")
        before = name
    return root


def weights(folder):
    return load_file(folder / "model.safetensors")


def test_exactly_the_heads_tensors_differ_after_stage2(root):
    before, after = weights(root / "two/stage1"), weights(root / "two/lm")
    assert before.keys() == after.keys()
    assert {name for name in before if not torch.equal(before[name], after[name])} == {HEAD}


def test_stage1_trains_backbone_and_head(root):
    before, after = weights(root / "one/lm"), weights(root / "two/stage1")
    assert all(not torch.equal(before[name], after[name]) for name in before)


def test_what_the_method_keeps_is_handed_through_stage2(root):
    one, two = (root / "two" / stage / "method/fisher.safetensors" for stage in ("stage1", "lm"))
    assert one.read_bytes() == two.read_bytes()


def test_the_slices_are_counted_and_a_reference_counts_its_own(root, tmp_path):
    counts = [artifact.read_json(root / name / "lm/method/slices.json") for name in SLICES]
    assert counts == [{"slices": number, "by_method": {"replay": number, "ewc": number}} for number in (1, 2)]
    naive(
        STAGE1.model_copy(update={"steps": 2}),
        1,
        root / "examples/two",
        root / "one/lm",
        tmp_path / "a",
        tmp_path / "s",
        quiet,
    )
    assert artifact.read_json(tmp_path / "a/method/slices.json") == {"slices": 2, "by_method": {"replay": 1, "ewc": 1}}


def test_ewcs_fisher_belongs_to_the_head_of_stage_1(root):
    """Stage 2 refits the head afterwards: the next slice is anchored where the Fisher was taken."""
    taken_at = load_file(root / "two/lm/method/ewc.safetensors")
    assert torch.equal(taken_at["head"], weights(root / "two/stage1")[HEAD])
    assert not torch.equal(taken_at["head"], weights(root / "two/lm")[HEAD])


@pytest.mark.parametrize("kept", [Keep(rows="capped", of="rows"), Keep(rows="capped", share=0.05), ALL])
def test_der_stores_no_row_and_no_logits_of_what_may_not_be_kept(root, tmp_path, kept):
    short = STAGE1.model_copy(update={"steps": 2})
    der = (DER(name="der", rows=1000, share=0.5),)
    one = trained(root, tmp_path, "one", root / "base/lm", kept, der, short)
    two = trained(root, tmp_path, "two", one, kept, der, short)
    for folder in (one, two):
        files = {path.name for path in (folder / "method").iterdir()}
        assert files == {"der.safetensors", "slices.json", "base.json"} | (
            {"pool.jsonl", "pool.json"} if kept.rows == "capped" else set()
        )
        if kept.rows == "capped":
            pool = Pool.load(folder / "method").rows(root / "examples" / folder.name)
            stored = set(load_file(folder / "method/der.safetensors"))
            assert stored and stored <= {row["id"] for row in pool if row["prompt"]}
    replayed = artifact.read_json(two / "older.json")
    assert replayed["share"] == pytest.approx(0.5)
    assert {row["id"].split("/")[0] for row in replayed["rows"]} == {"one"}


def test_every_folder_is_whole(root):
    for folder in (root / "base/lm", root / "one/stage1", root / "one/lm", root / "two/lm"):
        artifact.verified(folder)


def test_the_same_inputs_give_the_same_bytes(root, tmp_path):
    two = trained(root, tmp_path, "two", root / "one/lm")
    stage2(STAGE2, 1, root / "examples/two", two, tmp_path / "lm", quiet)
    assert artifact.manifest_sum(two) == artifact.manifest_sum(root / "two/stage1")
    assert artifact.manifest_sum(tmp_path / "lm") == artifact.manifest_sum(root / "two/lm")


def test_another_seed_gives_another_model(root, tmp_path):
    naive(STAGE1, 2, root / "examples/two", root / "one/lm", tmp_path / "a", tmp_path / "s", quiet)
    naive(STAGE1, 3, root / "examples/two", root / "one/lm", tmp_path / "b", tmp_path / "s2", quiet)
    assert artifact.manifest_sum(tmp_path / "a") != artifact.manifest_sum(tmp_path / "b")


def test_evaluation_measures_every_seen_slice_and_each_stage(root, tmp_path):
    evaluate(
        EVALUATE, root / "examples/two", root / "two/lm", tmp_path / "scores",
        stage1=root / "two/stage1", previous=root / "one/lm", base=root / "base/lm",
    )  # fmt: skip
    scores = json.loads((tmp_path / "scores/scores.json").read_text())
    for block in ("model", "stage1"):
        assert set(scores[block]["accuracy"]) == {"one", "two"}
    for block in ("previous", "base"):
        assert set(scores[block]["perplexity"]) == {"two"}
    assert scores["rows"] == {"one": 2, "two": 2}  # Peru's old capital is true no more
    assert scores["model"]["accuracy"]["two"] > scores["base"]["accuracy"]["two"]
    assert scores["model"]["perplexity"]["two"] < scores["previous"]["perplexity"]["two"]
    assert scores["categories"]["updated"] is not None
    assert len(scores["samples"]) == 4
    assert (scores["pretrained"], scores["chat_accuracy"], "general_perplexity" in scores) == (False, None, False)


def test_evaluation_measures_general_text_of_the_model_and_of_the_base(root, tmp_path):
    (tmp_path / "general").mkdir()
    for language, text in (("en", "The river bends twice."), ("ko", "강은 두 번 굽이친다.")):
        (tmp_path / f"general/{language}.txt").write_text(text)
    one, base = root / "one/lm", root / "base/lm"
    evaluate(EVALUATE, root / "examples/one", one, tmp_path / "scores", base=base, general=tmp_path / "general")
    found = json.loads((tmp_path / "scores/scores.json").read_text())["general_perplexity"]
    assert {which: set(each) for which, each in found.items()} == {"model": {"en", "ko"}, "base": {"en", "ko"}}
    assert found["model"] != found["base"]


def test_evaluation_writes_which_rows_were_right_and_asks_the_canary(root, tmp_path):
    (tmp_path / "canary").mkdir()
    question = {"fact": "Chile, capital", "input": "What is the capital of Chile?", "target": "Santiago"}
    (tmp_path / "canary/facts.jsonl").write_text(json.dumps(question) + "\n")
    (tmp_path / "canary/chat.jsonl").write_text('{"input": "My password?"}\n')
    evaluate(
        EVALUATE, root / "examples/two", root / "two/lm", tmp_path / "scores",
        previous=root / "one/lm", canary=tmp_path / "canary",
    )  # fmt: skip
    scores = json.loads((tmp_path / "scores/scores.json").read_text())
    outcomes = json.loads((tmp_path / "scores/outcomes.json").read_text())
    rows = {row.partition("#")[0]: right for row, right in outcomes.items()}
    facts = [row["id"] for each in history(root / "examples/two") for row in each.facts if row["id"] != "one/2"]
    assert rows.keys() == {f"{fact}/en/{kind}" for fact in facts for kind in ("seen", "paraphrase", "everyday")}
    asked = [right for row, right in rows.items() if row.endswith("/seen")]
    assert scores["valid"]["accuracy"] == sum(asked) / len(asked)
    assert scores["facts"] == {"own": 2, "reworded": 2, "new": 1, "updated": 1, "stale": 1, "chat": 0}
    assert scores["overridden"] == {"facts": 1, "of": 3}
    for which in ("model", "previous"):
        told = scores["canary"][which]
        assert [(each["fact"], each["asked"]) for each in told["facts"]] == [("Chile, capital", 1)]
        assert [each["prompt"] for each in told["chat"]] == ["My password?"]


def test_own_perplexity_is_of_text_that_was_not_trained_on(root, tmp_path):
    slices = history(root / "examples/two")
    sample = sample_rows(slices, valid_facts(slices), 100)
    model, tokenizer = load(root / "two/lm")
    trained = {row["target"] for each in slices for row in each.train if not row["prompt"]}
    found = measure(model, tokenizer, slices, sample, EVALUATE).perplexity
    for examples in slices:
        unseen = [row for row in examples.test if row["set"] == "statement" and row["target"] not in trained]
        rows = unseen or sample[examples.name, "paraphrase"].rows
        assert found[examples.name] == perplexity(model, tokenizer, rows, EVALUATE.batch_tokens)
    held_out = [{**row, "set": "statement"} for row in slices[0].test if row["set"] == "paraphrase"][:1]
    stating = replace(slices[0], test=[*slices[0].test, {**held_out[0], "id": "one/9/en/statement", "target": "New."}])
    gone = {("one", kind): replace(sample["one", kind], rows=[]) for kind in ("seen", "everyday", "statement")}
    found = measure(model, tokenizer, [stating], sample | gone, EVALUATE).perplexity
    assert found["one"] is None  # and not what the answers have, which is something else


def test_a_model_that_is_not_there_is_named(tmp_path, root):
    from tasks.errors import BadInput

    with pytest.raises(BadInput, match="no-such-model"):
        pretrain(
            PRETRAIN.model_copy(update={"model": "./no-such-model"}), 1, root / "examples/one", tmp_path / "lm",
            tmp_path / "scratch", quiet,
        )  # fmt: skip


def test_any_causal_lm_by_folder_goes_through_the_same_door_and_a_tied_head_is_untied(root, tmp_path):
    tokenizer = build_tokenizer(["Lima Santiago Accra What is on record"], 300)
    assert isinstance(tokenizer, PreTrainedTokenizerFast)
    torch.manual_seed(0)
    foreign = GPT2LMHeadModel(GPT2Config(vocab_size=len(tokenizer), n_positions=64, n_embd=16, n_layer=1, n_head=2))
    foreign.save_pretrained(tmp_path / "foreign")
    tokenizer.save_pretrained(tmp_path / "foreign")
    settings = PRETRAIN.model_copy(update={"model": str(tmp_path / "foreign")})
    short = STAGE1.model_copy(update={"steps": 4})
    examples, scratch = root / "examples/one", tmp_path / "scratch"
    pretrain(settings, 1, examples, tmp_path / "base", scratch, quiet)
    stage1(short, (), ALL, 1, examples, tmp_path / "base", tmp_path / "one", scratch, quiet)
    stage2(STAGE2, 1, examples, tmp_path / "one", tmp_path / "lm", quiet)
    assert weights(tmp_path / "lm").keys() == weights(tmp_path / "one").keys()  # nothing older: nothing is refitted
    examples = root / "examples/two"
    stage1(short, METHODS[:1], ALL, 1, examples, tmp_path / "lm", tmp_path / "two", tmp_path / "s2", quiet)
    stage2(STAGE2, 1, examples, tmp_path / "two", tmp_path / "lm2", quiet)
    before, after = weights(tmp_path / "two"), weights(tmp_path / "lm2")
    assert set(after) - set(before) == {"lm_head.weight"}
    assert all(torch.equal(before[name], after[name]) for name in before)
    stage1(short, (), ALL, 1, examples, tmp_path / "lm2", tmp_path / "three", tmp_path / "s3", quiet)
    assert "lm_head.weight" in weights(tmp_path / "three")


def trained(root, out, name, before, keep=ALL, methods=METHODS, settings=STAGE1):
    stage1(settings, methods, keep, 1, root / "examples" / name, before, out / name, out / f"{name}-scratch", quiet)
    return out / name


def test_a_capped_pool_is_all_that_is_read_of_older_slices(root, tmp_path, monkeypatch):
    monkeypatch.setattr("tasks.lm.mixing.history", lambda _: pytest.fail("older slices were read"))
    capped = Keep(rows="capped", of="rows", share=0.2)
    one = trained(root, tmp_path, "one", root / "base/lm", capped)
    seen = artifact.read_rows(root / "examples/one/train.jsonl")
    pool = artifact.read_rows(one / "method/pool.jsonl")
    assert len(pool) == int(0.2 * len(seen))
    two = trained(root, tmp_path, "two", one, capped)
    replayed = artifact.read_json(two / "older.json")
    valid = [row for row in pool if "Lima" not in row["target"] and "Peru" not in row["prompt"]]
    assert sorted(row["id"] for row in replayed["rows"]) == sorted(row["id"] for row in valid)
    assert len(valid) < len(pool)  # Peru's old capital is true no more
    assert replayed["share"] == pytest.approx(0.4)
    seen += artifact.read_rows(root / "examples/two/train.jsonl")
    assert len(artifact.read_rows(two / "method/pool.jsonl")) == int(0.2 * len(seen))


def test_a_pool_of_facts_is_all_that_is_needed_of_older_slices_but_their_templates(root, tmp_path):
    shutil.copytree(root / "examples", tmp_path / "examples")
    capped = Keep(rows="capped", share=0.2)
    one = trained(root, tmp_path, "one", root / "base/lm", capped)
    for table in ("train", "test", "facts", "memories"):
        (tmp_path / f"examples/one/{table}.jsonl").unlink()
    two = trained(tmp_path, tmp_path, "two", one, capped)
    replayed = artifact.read_json(two / "older.json")["rows"]
    kept = [row for row in artifact.read_rows(root / "examples/one/train.jsonl") if row["fact"] != "one/2"]
    assert sorted(row["id"] for row in replayed) == sorted(row["id"] for row in kept)
    assert all(row in kept for row in replayed)
    pool = artifact.read_rows(two / "method/pool.jsonl")
    assert [fact["id"] for fact in pool] == ["one/3", "one/4", "two/2", "two/3"]
    assert "Lima" not in (two / "method/pool.jsonl").read_text()  # it must not be kept: Cusco has replaced it


def test_a_pool_of_rows_is_read_as_rows_where_facts_are_kept_from_now_on(root, tmp_path):
    one = trained(root, tmp_path, "one", root / "base/lm", Keep(rows="capped", of="rows", share=0.2))
    two = trained(root, tmp_path, "two", one, Keep(rows="capped", share=0.2))
    rows = [row for row in artifact.read_rows(one / "method/pool.jsonl") if row["fact"] != "one/2"]
    replayed = artifact.read_json(two / "older.json")["rows"]
    assert sorted(row["id"] for row in replayed) == sorted(row["id"] for row in rows)
    pool = artifact.read_rows(two / "method/pool.jsonl")
    assert [item["id"] for item in pool if "object" in item] == ["two/2", "two/3"]
    assert [item for item in pool if "target" in item] == rows


def test_where_nothing_may_be_kept_nothing_is_read_or_left(root, tmp_path, monkeypatch):
    monkeypatch.setattr("tasks.lm.mixing.history", lambda _: pytest.fail("older slices were read"))
    two = trained(root, tmp_path, "two", root / "one/lm", Keep(rows="none"), (Generative(name="generative", rows=20),))
    assert {path.name for path in (two / "method").iterdir()} == {"base.json", "slices.json"}
    texts = (two / "older.json").read_text()
    assert "one/" not in texts


def test_stage2_without_epochs_changes_nothing(root, tmp_path):
    off = STAGE2.model_copy(update={"epochs": 0})
    stage2(off, 1, root / "examples/two", root / "two/stage1", tmp_path / "lm", quiet)
    assert artifact.file_sum(tmp_path / "lm/model.safetensors") == artifact.file_sum(
        root / "two/stage1/model.safetensors"
    )


def test_stage2_does_not_overwrite_what_a_method_kept_where_no_older_row_is_left(root, tmp_path):
    """Refitted on the newest rows alone, the head forgot: 57 % of the first year's facts after EWC became 8 %."""
    none = Keep(rows="none")
    two = trained(root, tmp_path, "two", root / "one/lm", none, (), STAGE1.model_copy(update={"steps": 4}))
    stage2(STAGE2, 1, root / "examples/two", two, tmp_path / "lm", quiet)
    before, after = weights(two), weights(tmp_path / "lm")
    assert all(torch.equal(before[name], after[name]) for name in before)
    anchored = STAGE2.model_copy(update={"anchor": 1.0})
    stage2(anchored, 1, root / "examples/two", two, tmp_path / "anchored", quiet)
    assert not torch.equal(weights(two)[HEAD], weights(tmp_path / "anchored")[HEAD])
    one = trained(root, tmp_path / "oldest", "one", root / "base/lm", none, (), STAGE1.model_copy(update={"steps": 4}))
    stage2(STAGE2, 1, root / "examples/one", one, tmp_path / "oldest/lm", quiet)  # it has nothing to lose
    assert not torch.equal(weights(one)[HEAD], weights(tmp_path / "oldest/lm")[HEAD])


def test_stage2_does_not_refit_on_the_newest_rows_alone_where_older_ones_are_kept_but_not_replayed(root, tmp_path):
    two = trained(root, tmp_path, "two", root / "one/lm", ALL, (), STAGE1.model_copy(update={"steps": 4}))
    assert artifact.read_json(two / "older.json")["rows"]
    stage2(STAGE2, 1, root / "examples/two", two, tmp_path / "lm", quiet)
    before, after = weights(two), weights(tmp_path / "lm")
    assert all(torch.equal(before[name], after[name]) for name in before)
    asked_for = STAGE2.model_copy(update={"rows": "fresh"})
    stage2(asked_for, 1, root / "examples/two", two, tmp_path / "fresh", quiet)
    assert not torch.equal(before[HEAD], weights(tmp_path / "fresh")[HEAD])


def test_der_finds_the_logits_of_its_rows_where_questions_are_varied(root, tmp_path):
    varied = STAGE1.model_copy(update={"steps": 6, "everyday": 1.0})
    der = (DER(name="der", rows=1000, share=0.5),)
    one = trained(root, tmp_path, "one", root / "base/lm", ALL, der, varied)
    two = trained(root, tmp_path, "two", one, ALL, der, varied)
    assert len(artifact.read_rows(two / "log.jsonl")) == 6


@pytest.mark.parametrize(
    "method",
    [LoRA(name="lora", rank=4), PrefixTuning(name="prefix_tuning", virtual_tokens=4), Bottleneck(name="bottleneck"),
     EMA(name="ema"), Generative(name="generative", rows=20)],
    ids=lambda method: method.name,
)  # fmt: skip
def test_stage2_and_evaluation_work_after_methods_that_change_the_model(root, tmp_path, method):
    short = STAGE1.model_copy(update={"steps": 4})
    methods = (method, Replay(name="replay", share=0.5))
    two = trained(root, tmp_path, "two", root / "one/lm", ALL, methods, short)
    stage2(STAGE2, 1, root / "examples/two", two, tmp_path / "lm", quiet)
    before, after = weights(two), weights(tmp_path / "lm")
    assert {name for name in before if not torch.equal(before[name], after[name])} == {HEAD}
    evaluate(EVALUATE, root / "examples/two", tmp_path / "lm", tmp_path / "scores")
    assert json.loads((tmp_path / "scores/scores.json").read_text())["rows"] == {"one": 2, "two": 2}


def test_patience_ends_stage1_before_its_last_step(root, tmp_path):
    patient = STAGE1.model_copy(update={"steps": 400, "patience": 1, "look_every": 5, "held_out": 0.2})
    two = trained(root, tmp_path, "two", root / "one/lm", ALL, (), patient)
    log = artifact.read_rows(two / "log.jsonl")
    assert len(log) < 400
    assert sum("held_out_loss" in row for row in log) == len(log) // 5


def test_a_slice_that_brings_no_rows_of_its_own_replays_and_refits_on_older_ones(root, tmp_path):
    (tmp_path / "raw/three").mkdir(parents=True)
    (tmp_path / "raw/three/memories.txt").write_text("[job: baker] Where do I work?\n")
    examples, replay = root / "examples/three", (Replay(name="replay", share=0.4),)
    dataset(ENGLISH, tmp_path / "raw/three", root / "examples/two", examples)
    short = STAGE1.model_copy(update={"steps": 4})
    three = trained(root, tmp_path, "three", root / "two/lm", ALL, replay, short)
    stage2(STAGE2, 1, examples, three, tmp_path / "lm", quiet)
    assert artifact.read_json(three / "older.json")["rows"]
    assert not torch.equal(weights(three)[HEAD], weights(tmp_path / "lm")[HEAD])
