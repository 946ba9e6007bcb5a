import json

import pytest

from tasks import artifact
from tasks.lm.methods import METHODS, build_methods
from tasks.lm.methods.seen import Seen, count_slice, seen_in
from tasks.method_params import EWC, L2, Distillation, FrozenBackbone, Merging, RecAdam
from tests.lm.methods.a_slice import changed, start, train_slice, weights


def slices(tmp_path, *names, learnt=True):
    """A folder per slice, each learnt by one method; the last of them."""
    before = tmp_path / "base"
    for number, name in enumerate(names):
        after = tmp_path / f"slice-{number}"
        after.mkdir()
        count_slice(before, after / "method", [name], learnt)
        before = after
    return before


def test_slices_are_counted_whatever_they_were_learnt_by_and_by_each_method(tmp_path):
    assert seen_in(tmp_path / "base", "l2") == Seen()
    last = slices(tmp_path, "l2", "generative", "l2")
    assert seen_in(last, "l2") == Seen(slices=3, own=2)
    assert seen_in(last, "rewarming") == Seen(slices=3, own=0)
    written = json.loads((last / "method" / "slices.json").read_text())
    assert written == {"slices": 3, "by_method": {"l2": 2, "generative": 1}}


def test_a_slice_that_is_only_shown_is_not_counted_and_what_was_before_it_is_told(tmp_path):
    """As in the comparison, whose methods are shown the slice that the model in `previous` has just learnt."""
    first = slices(tmp_path, "generative")
    assert seen_in(first, "generative", learns=False) == Seen()
    (tmp_path / "shown").mkdir()
    count_slice(first, tmp_path / "shown" / "method", ["ewc"], learnt=False)
    assert seen_in(tmp_path / "shown", "generative") == Seen(slices=1, own=1)
    assert seen_in(tmp_path / "shown", "ewc") == Seen(slices=1)


@pytest.mark.parametrize("pretrained", [True, False])
def test_where_the_base_was_trained_is_handed_from_slice_to_slice(tmp_path, pretrained):
    (tmp_path / "base" / "method").mkdir(parents=True)
    artifact.write_json(tmp_path / "base" / "method" / "base.json", {"pretrained": pretrained})
    assert seen_in(tmp_path / "base", "l2").knows == pretrained
    assert seen_in(slices(tmp_path, "l2", "l2"), "l2") == Seen(slices=2, own=2, pretrained=pretrained)


def test_a_method_is_told_before_it_begins(tmp_path):
    last = slices(tmp_path, "l2")
    assert build_methods((L2(name="l2"),), 0, 5, last)[0].seen == Seen(slices=1, own=1)
    assert build_methods((L2(name="l2"),), 0, 0, last)[0].seen == Seen()


PROTECTING = [
    L2(name="l2", strength=1e4), RecAdam(name="recadam", gamma=1e6, k=1e3, t0=1.0),
    EWC(name="ewc", strength=1e4, samples=4), Distillation(name="distillation", rows="all", weight=1e4),
    Merging(name="merging", alone=0.01),
]  # fmt: skip


@pytest.mark.parametrize("settings", PROTECTING, ids=lambda each: each.name)
def test_a_pretrained_model_is_protected_from_the_first_slice_on(tiny, rows, tmp_path, settings):
    built, elsewhere = start(tiny, tmp_path / "built"), start(tiny, tmp_path / "elsewhere")
    (elsewhere / "method").mkdir()
    artifact.write_json(elsewhere / "method" / "base.json", {"pretrained": True})
    (elsewhere / artifact.MANIFEST).unlink()  # the file came after it

    def moved(base, out):
        train_slice(METHODS[settings.name](settings, 0), rows, base, out)
        before, after = weights(base), weights(out)
        return sum(float((after[name] - before[name]).square().sum()) for name in before)

    assert moved(elsewhere, tmp_path / "b") < 0.8 * moved(built, tmp_path / "a")


def test_a_frozen_backbone_counts_a_pretrained_base_as_warmed_up(tiny, rows, tmp_path):
    base = start(tiny, tmp_path / "base")
    settings = FrozenBackbone(name="frozen_backbone", warm_slices=1)
    train_slice(METHODS["frozen_backbone"](settings, 0), rows, base, tmp_path / "a")
    assert len(changed(weights(base), weights(tmp_path / "a"))) > 1
    (base / "method").mkdir()
    artifact.write_json(base / "method" / "base.json", {"pretrained": True})
    (base / artifact.MANIFEST).unlink()
    train_slice(METHODS["frozen_backbone"](settings, 0), rows, base, tmp_path / "b")
    assert changed(weights(base), weights(tmp_path / "b")) == {"lm_head.weight"}
