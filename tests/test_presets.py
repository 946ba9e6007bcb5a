"""Presets: every one fits params.yaml, none leaves anything of another behind, and comments stay."""

import io
import itertools
import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from tasks.errors import BadInput
from tasks.params import Params
from tasks.presets import PRESETS, SMALL, laid_over, names, read_preset, with_settings
from tests.replaying import replaying

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "params.yaml").read_text(encoding="utf-8")
NAMES = names(ROOT / PRESETS)
ONLY_LESS = ("reference",)  # a preset may leave it out to save time; only its owner knows its slices


def preset(name):
    return read_preset(name, ROOT / PRESETS)


def values(text):
    return YAML(typ="safe").load(text)


def leaves(settings, path=()):
    """Paths of what is set, and the values."""
    for key, value in settings.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, (*path, key))
        else:
            yield (*path, key), value


def at(loaded, path):
    for key in path:
        loaded = loaded[key]
    return loaded


def overlaid(*chosen):
    return laid_over(TEXT, [preset(name) for name in chosen], preset(SMALL))


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_fits_params_yaml_and_says_what_it_is(name):
    text = overlaid(name)
    assert Params.model_validate(values(text))
    for path, value in leaves(preset(name).settings):
        assert at(values(text), path) == value
    assert preset(name).about.what and preset(name).about.licence


def test_the_small_preset_is_params_yaml_as_it_is():
    assert overlaid(SMALL) == TEXT


@pytest.mark.parametrize("name", NAMES)
def test_small_sets_what_another_preset_sets_so_that_nothing_of_that_is_left(name):
    there = {path for path, _ in leaves(preset(SMALL).settings)}
    assert {path for path, _ in leaves(preset(name).settings) if path[0] not in ONLY_LESS} <= there


@pytest.mark.parametrize(("first", "second"), list(itertools.permutations(NAMES, 2)))
def test_one_preset_after_another_is_that_one_alone(first, second):
    after = laid_over(overlaid(first), [preset(second)], preset(SMALL))
    assert {**values(after), "reference": None} == {**values(overlaid(second)), "reference": None}


@pytest.mark.parametrize("name", NAMES)
def test_comments_stay_and_the_same_preset_again_changes_nothing(name):
    text = overlaid(name)
    assert re.findall("#.*", text) == re.findall("#.*", TEXT)
    assert laid_over(text, [preset(name)], preset(SMALL)) == text


def test_the_replay_preset_is_what_the_tests_of_replay_use():
    assert values(overlaid("replay")) == values(replaying(TEXT))


def test_a_comment_keeps_its_column_where_there_is_room():
    text = "a: 400    # steps\nb:\n  c: [1, 2]  # two\n"
    assert with_settings(text, {"a": 0}) == "a: 0      # steps\nb:\n  c: [1, 2]  # two\n"
    assert with_settings(text, {"b": {"c": [100, 200]}}) == "a: 400    # steps\nb:\n  c: [100, 200] # two\n"


def test_a_block_is_replaced_whole_and_a_new_key_finds_room():
    text = "a:\n  x: {y: 1}\n  z: 2\n\n# about b\nb:\n  - one\n  - two\nc: {d: 1}\n"
    assert with_settings(text, {"a": {}}) == "a: {}\n\n# about b\nb:\n  - one\n  - two\nc: {d: 1}\n"
    assert with_settings(text, {"b": []}) == "a:\n  x: {y: 1}\n  z: 2\n\n# about b\nb: []\nc: {d: 1}\n"
    both = with_settings(text, {"a": {"new": "no"}, "c": {"e": None}})
    assert values(both) == {"a": {"x": {"y": 1}, "z": 2, "new": "no"}, "b": ["one", "two"], "c": {"d": 1, "e": None}}


KEYS = st.sampled_from(["a", "b", "c", "long name"])
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-99, 9999)
    | st.text(st.characters(categories=["L", "N", "P", "S", "Zs"]), max_size=12)
    | st.floats(0, 1)
)
VALUES = st.recursive(
    SCALARS, lambda each: st.lists(each, max_size=3) | st.dictionaries(KEYS, each, max_size=3), max_leaves=6
)
TREES = st.dictionaries(KEYS, VALUES, min_size=1)


def merged(old, new):
    """What `with_settings` is for, in a few lines: a key with keys of its own is gone into, another is replaced."""
    if not (isinstance(old, dict) and isinstance(new, dict) and old and new):
        return new
    return old | {key: merged(old.get(key), value) for key, value in new.items()}


@given(TREES, TREES, st.booleans())
def test_whatever_is_set_is_read_back(old, new, flow):
    file = io.StringIO()
    writer = YAML(typ="safe")
    writer.default_flow_style = False
    writer.dump(old, file)
    text = json.dumps(old, ensure_ascii=False) if flow else file.getvalue()
    assert values(with_settings(text, new)) == merged(old, new)


def test_a_preset_that_is_none_or_wrong_is_one_sentence(tmp_path):
    with pytest.raises(BadInput, match=r"There is no preset 'huge'\. Known: small, "):
        read_preset("huge", ROOT / PRESETS)
    (tmp_path / "mine.yaml").write_text("about: {what: x, licence: y}\nsetings: {}\n")
    with pytest.raises(BadInput, match=r"mine\.yaml: setings: Extra inputs"):
        read_preset("mine", tmp_path)
    (tmp_path / "mine.yaml").write_text("about: {what: x, licence: y}\nsettings: {stage1: {stepz: 1}}\n")
    with pytest.raises(BadInput, match=r"mine\.yaml does not fit params\.yaml: stage1\.stepz"):
        laid_over(TEXT, [read_preset("mine", tmp_path)], preset(SMALL))
