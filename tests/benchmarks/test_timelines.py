import json

import pytest
import yaml

from benchmarks import timelines
from tasks.corpus.slices import history, valid_facts
from tasks.corpus.topics import read_topics
from tasks.dataset import dataset
from tasks.errors import BadInput
from tasks.origin import origin
from tasks.params import load_params

YAGO = [
    ("y1", "Ada Byron", "is married to", "William King"), ("y1", "Bo Ek", "plays for", "FC North"),
    ("y1", "Cy, Inc.", "owns", "Studio 1"), ("y2", "Bo Ek", "plays for", "FC South"),
    ("y2", "Di Fu", "works at", "MIT"),
]  # fmt: skip
LABELS = {"task1": ("spouse", "mother"), "task2": ("crosses", "follows")}


def built(folder):
    """Every slice of the project by the steps themselves; the last one's history."""
    params = load_params(folder / "params.yaml")
    examples = folder / "data/examples"
    origin(folder / "data/raw/relations.yaml", examples / "base")
    for name, item in params.timeline.items():
        dataset(params.dataset, folder / "data/raw" / name, examples / item.previous, examples / name)
    return params, history(examples / name)


def write_rows(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path.parent


def labelled(*names):
    return [
        {"slice": name, "split": split, "input": f"{name} {label} {split} {n} is", "target": label}
        for name in names for label in LABELS[name] for split in ("train", "test") for n in range(3)
    ]  # fmt: skip


def test_yago_is_a_timeline_in_which_facts_change(tmp_path):
    keys = ("slice", "subject", "relation", "object")
    write_rows(tmp_path / "facts.jsonl", [dict(zip(keys, row, strict=True)) for row in YAGO])
    timelines.yago(tmp_path, tmp_path / "project")
    params, slices = built(tmp_path / "project")
    assert (params.kind, list(params.timeline), params.pretrain.slice) == ("time", ["y1", "y2"], "y1")
    assert [fact["category"] for fact in slices[1].facts] == ["updated", "new"]
    assert {fact["object"] for fact in valid_facts(slices).values()} == {"William King", "Studio 1", "FC South", "MIT"}
    assert {"Who is Ada Byron married to?", "Cy, Inc.: property?"} <= {row["prompt"] for row in slices[0].train}


def test_a_wording_that_one_yago_relation_holds_out_is_trained_on_by_others():
    told = yaml.safe_load(timelines.YAGO.read_text())["relations"]
    nouns = {"is married to": "spouse", "is affiliated to": "affiliation", "plays for": "team", "owns": "property",
             "works at": "employer"}  # fmt: skip
    frames = {name: {each.replace(nouns[name], "*") for each in of["en"]["questions"]} for name, of in told.items()}
    for name, of in told.items():
        held_out = of["en"]["paraphrase"].replace(nouns[name], "*")
        assert held_out not in frames[name]
        assert sum(held_out in of_others or held_out.replace("what", "who") in of_others
                   for of_others in frames.values()) >= 2  # fmt: skip


@pytest.mark.parametrize(
    ("command", "file"), [(timelines.fewrel, "relations.jsonl"), (timelines.clinc, "intents.jsonl")]
)
def test_labelled_rows_become_domains_in_the_order_of_the_file(tmp_path, command, file):
    command(write_rows(tmp_path / file, labelled("task2", "task1")), tmp_path / "project")
    params, slices = built(tmp_path / "project")
    assert (params.kind, list(params.timeline)) == ("domain", ["task2", "task1"])
    assert [{row["target"] for row in each.train} for each in slices] == [set(LABELS["task2"]), set(LABELS["task1"])]
    assert [len(each.train) for each in slices] == [6, 6]


def test_invented_slices_have_one_size_and_update_what_is_still_true(tmp_path):
    timelines.synthetic(3, tmp_path / "project")
    _, slices = built(tmp_path / "project")
    told = [[fact["category"] for fact in each.facts] for each in slices]
    assert [(each.count("new"), each.count("updated")) for each in told] == [(70, 0), (60, 10), (60, 10)]
    assert len(valid_facts(slices)) == 70 + 60 + 60
    questions = [sum(row["kind"] == "question" for row in each.train) for each in slices]
    assert len(set(questions)) == 1
    assert all(
        len(each.train) == pytest.approx(len(slices[0].train), rel=0.01) for each in slices
    )  # statements are held out
    assert timelines.invented(3, seed=20) == timelines.invented(3, seed=20) != timelines.invented(3, seed=21)


def test_the_settings_are_the_repositorys_own(tmp_path):
    text = (timelines.ROOT / "params.yaml").read_text()
    (tmp_path / "params.yaml").write_text(timelines.params_text(text, ["law", "2020"], "domain"))
    ours, theirs = load_params(timelines.ROOT / "params.yaml"), load_params(tmp_path / "params.yaml")
    different = {name for name in type(ours).model_fields if getattr(ours, name) != getattr(theirs, name)}
    assert different == {"kind", "timeline", "reference", "pretrain"}
    assert theirs.pretrain == ours.pretrain.model_copy(update={"slice": "law"})


def test_the_encoder_has_the_repositorys_topics_to_learn_from(tmp_path):
    timelines.synthetic(1, tmp_path / "project")
    assert read_topics(tmp_path / "project/data/raw/topics") == read_topics(timelines.ROOT / "data/raw/topics")


def test_nothing_is_overwritten_and_a_missing_source_is_named(tmp_path):
    with pytest.raises(BadInput, match=r"relations\.jsonl does not exist"):
        timelines.fewrel(tmp_path, tmp_path / "project")
    (tmp_path / "file").write_text("mine")
    with pytest.raises(BadInput, match="is not empty"):
        timelines.synthetic(2, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
