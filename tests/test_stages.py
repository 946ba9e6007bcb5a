"""The steps that train, on a timeline of two small slices."""

import json

import pytest
import torch
from safetensors.torch import load_file
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from tasks import artifact
from tasks.dataset import dataset
from tasks.evaluate import evaluate
from tasks.lm.causal import build_tokenizer
from tasks.naive import naive
from tasks.origin import origin
from tasks.params import EWC, Dataset, Evaluate, Pretrain, Replay, Stage1, Stage2
from tasks.pretrain import pretrain
from tasks.stage1 import stage1
from tasks.stage2 import stage2

PRETRAIN = Pretrain(
    slice="one", model="small", layers=1, width=32, heads=2, positions=96, vocabulary=400, steps=10,
    batch_tokens=256, learning_rate=3e-3, warmup=0.1,
)  # fmt: skip
STAGE1 = Stage1(steps=60, batch_tokens=256, learning_rate=3e-3, warmup=0.1, checkpoint_every=20)
STAGE2 = Stage2(epochs=2, batch_positions=64, learning_rate=1e-3)
EVALUATE = Evaluate(batch_tokens=1024, samples=4)
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
    (root / "relations.yaml").write_text("names: {}\nrelations: {}\n")
    origin(root / "relations.yaml", root / "examples/base")
    before = "base"
    for name, facts in SLICES.items():
        (root / "raw" / name).mkdir(parents=True)
        (root / "raw" / name / "facts.csv").write_text(facts)
        examples = root / "examples" / name
        dataset(Dataset(languages=("en",), chat_repeats=1), root / "raw" / name, root / "examples" / before, examples)
        if before == "base":
            pretrain(PRETRAIN, 1, examples, root / "base/lm", root / "scratch", quiet)
        stage1(STAGE1, METHODS, 1, examples, root / before / "lm", root / name / "stage1", root / "scratch", quiet)
        stage2(STAGE2, METHODS, 1, examples, root / name / "stage1", root / name / "lm", quiet)
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


def test_every_folder_is_whole(root):
    for folder in (root / "base/lm", root / "one/stage1", root / "one/lm", root / "two/lm"):
        artifact.verified(folder)


def test_the_same_inputs_give_the_same_bytes(root, tmp_path):
    stage1(STAGE1, METHODS, 1, root / "examples/two", root / "one/lm", tmp_path / "out", tmp_path / "scratch", quiet)
    stage2(STAGE2, METHODS, 1, root / "examples/two", tmp_path / "out", tmp_path / "lm", quiet)
    assert artifact.manifest_sum(tmp_path / "out") == artifact.manifest_sum(root / "two/stage1")
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
    stage1(short, (), 1, examples, tmp_path / "base", tmp_path / "one", scratch, quiet)
    stage2(STAGE2, (), 1, examples, tmp_path / "one", tmp_path / "lm", quiet)
    before, after = weights(tmp_path / "one"), weights(tmp_path / "lm")
    assert set(after) - set(before) == {"lm_head.weight"}
    assert all(torch.equal(before[name], after[name]) for name in before)
    stage1(short, (), 1, examples, tmp_path / "lm", tmp_path / "two", tmp_path / "s2", quiet)
    assert "lm_head.weight" in weights(tmp_path / "two")
