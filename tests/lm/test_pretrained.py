"""A base that was pretrained elsewhere is trained at rates of its own, and what it is is handed on."""

import pytest

from tasks import artifact
from tasks.corpus.slices import Examples
from tasks.lm.batches import Mixture, Part, encode
from tasks.lm.causal import build, limit_of, save
from tasks.lm.pretrained import BASE, base_of, stage2_for
from tasks.lm.training import Schedule, train
from tasks.params import Keep, Pretrained, Stage1, Stage2
from tasks.pretrain import pretrain
from tasks.stage1 import stage1
from tasks.stage2 import stage2
from tests.lm.conftest import ROWS, SETTINGS, STATEMENTS

STAGE1 = Stage1(steps=4, batch_tokens=96, learning_rate=2e-3, warmup=0.25, checkpoint_every=50)
STAGE2 = Stage2(epochs=1, batch_positions=64, learning_rate=1e-3)
RATES = Pretrained(learning_rates=(0.1, 1e-5), trial_steps=8, stage2_learning_rate=3e-6)
NONE = Keep(rows="none")


def quiet(step, values):
    pass


def trained_on(model, tokenizer, rows, scratch):
    data = Mixture([Part(encode(rows, tokenizer, limit_of(model)), 1.0)], 96, 60, 3, model.device)
    train(model, data, Schedule(60, 1e-2, 0.1), scratch=scratch, log=quiet, seed=0)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A slice's examples, general text, and a model that has read it."""
    root = tmp_path_factory.mktemp("project")
    with artifact.writing(root / "examples/one") as folder:
        Examples(name="one", train=[*ROWS, *STATEMENTS]).save(folder, None)
    (root / "general").mkdir()
    prose = "The river bends twice before it comes to the town on the hill."
    (root / "general/en.txt").write_text(prose)
    model, tokenizer = build(SETTINGS, [prose, *(row["target"] for row in STATEMENTS)], seed=1)
    trained_on(model, tokenizer, [{"prompt": "", "target": prose}], root / "scratch")
    save(model, tokenizer, root / "elsewhere")
    return root


def based_on(model, root, out):
    settings = SETTINGS.model_copy(update={"model": str(model)})
    pretrain(settings, 1, root / "examples/one", out / "base", out / "s", quiet, root / "general", RATES)
    return out / "base"


def rates_of(folder):
    return {row["learning_rate"] for row in artifact.read_rows(folder / "log.jsonl")}


def test_a_pretrained_base_is_left_as_it_is_and_its_rate_was_tried_on_it(root, tmp_path):
    base = based_on(root / "elsewhere", root, tmp_path)
    assert (base / "model.safetensors").read_bytes() == (root / "elsewhere/model.safetensors").read_bytes()
    told = base_of(base)
    assert (told["pretrained"], told["learning_rate"], told["stage2_learning_rate"]) == (True, 1e-5, 3e-6)
    assert [each["learning_rate"] for each in told["trials"]] == [0.0, 0.1, 1e-5]
    again = based_on(root / "elsewhere", root, tmp_path / "again")
    assert artifact.manifest_sum(again) == artifact.manifest_sum(base)


def test_every_slice_of_a_pretrained_model_is_trained_at_its_rates(root, tmp_path):
    before = based_on(root / "elsewhere", root, tmp_path)
    for name in ("one", "two"):
        first, end = tmp_path / name / "stage1", tmp_path / name / "lm"
        stage1(STAGE1, (), NONE, 1, root / "examples/one", before, first, tmp_path / f"{name}-s", quiet)
        stage2(STAGE2, 1, root / "examples/one", first, end, quiet)
        assert max(rates_of(first)) == 1e-5
        assert stage2_for(STAGE2, first).learning_rate == 3e-6
        assert not rates_of(end)  # nothing older is left: its head is left alone
        assert (end / BASE).read_bytes() == (before / BASE).read_bytes()
        before = end


def test_a_model_built_here_is_trained_at_the_sections_rates(root, tmp_path):
    base = based_on("small", root, tmp_path)
    assert base_of(base) == {"pretrained": False}
    stage1(STAGE1, (), NONE, 1, root / "examples/one", base, tmp_path / "stage1", tmp_path / "s1", quiet)
    stage2(STAGE2, 1, root / "examples/one", tmp_path / "stage1", tmp_path / "lm", quiet)
    assert max(rates_of(tmp_path / "stage1")) == STAGE1.learning_rate
    assert rates_of(tmp_path / "lm") == {STAGE2.learning_rate}


def test_a_single_rate_is_taken_untried(root, tmp_path):
    settings = SETTINGS.model_copy(update={"model": str(root / "elsewhere")})
    one = RATES.model_copy(update={"learning_rates": (0.1,)})
    pretrain(settings, 1, root / "examples/one", tmp_path / "base", tmp_path / "s", quiet, root / "general", one)
    assert (base_of(tmp_path / "base")["learning_rate"], base_of(tmp_path / "base")["trials"]) == (0.1, [])
