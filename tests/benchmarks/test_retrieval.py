"""The benchmark of rankers, run whole on a few invented lines, and what it counts, counted again."""

import gc
import json
import re
import shutil

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import retrievers
from benchmarks.ranking import (
    Likeness,
    Pairs,
    Query,
    Questions,
    Table,
    alike,
    cell,
    line_through,
    pair_scores,
    recall_among_first,
    timed,
)
from benchmarks.retrieval import PAGE, markdown, placed, run
from benchmarks.retrieval_lines import KOREAN
from benchmarks.retrieval_sentences import CHAT, CHAT_SHARES, STS, answer_rows, components, dealt
from tasks import artifact
from tasks.errors import BadInput
from tasks.params import load_params
from tasks.retrieval.evaluation import REGRESSION
from tasks.retrieval.rankers import Bm25
from tests.end_to_end.project import ROOT, set_params

THINGS = ["apple", "river", "candle", "garden", "violin", "harbour", "pencil", "mountain"]
KOREAN_THINGS = ["사과", "바다", "커피", "우산", "연필", "구두", "안경", "시계"]
WORDINGS = ["Where is my {}?", "Tell me of the {}", "Which {} was it?", "I want the {}", "Is the {} old?"]
KOREAN_WORDINGS = ["내 {} 어디 있지?", "{} 말해 줘", "무슨 {} 였지?", "{} 좋아해?", "{} 얼마였지?"]
RANKERS = ["tfidf", "bm25", "sbert", "dpr", "rrf", "hybrid"]
NOTHING = {"words": [], "frames": []}


def lines_of(number):
    """Two keys in English and eight in Korean, each asked for in five wordings."""
    return [
        f"[{mine} {thing}: {value} {number}] {wording.format(thing)} {number}\n"
        for mine, value, things, wordings in (
            ("my", "blue", THINGS[:2], WORDINGS), ("나의", "파랑", KOREAN_THINGS, KOREAN_WORDINGS),
        )
        for thing in things for wording in wordings
    ]  # fmt: skip


def topics():
    """Topics of one key each; the last two share theirs, so that they ask for the same."""
    wholes = [f"{thing} {of}" for thing in THINGS for of in ("price", "owner", "colour")]
    wholes.append(wholes[-1])
    return {
        "words": [["Where", "At what place"]],
        "frames": ["{message}", "Hey, {message}"],
        "topics": [
            {"keys": [whole], "values": ["one", "two"], "messages": [each.format(whole) for each in WORDINGS[:4]]}
            for whole in wholes
        ],
    }


def write_rows(path, rows):
    path.parent.mkdir(parents=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def write_data(folder):
    things = [*THINGS, *KOREAN_THINGS[:2]]
    told = [(thing, other) for thing in things for other in things]
    sts = [
        {"sentence1": f"The {one} near the {other}", "sentence2": f"A {one} by a {other}", "score": n % 3 / 2}
        for n, (one, other) in enumerate(told)
    ]
    chat = [{"input": f"I lost {one} and {other}", "output": f"Find your {one}, {other}!"} for one, other in told]
    write_rows(folder / STS, sts)
    write_rows(folder / CHAT, [*chat, chat[0], chat[1] | {"input": chat[0]["input"]}])


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A project of two slices, the page and the data, and the benchmark run there."""
    root = tmp_path_factory.mktemp("benchmark")
    for name in ("2020", "2021"):
        (root / "data/raw" / name).mkdir(parents=True)
        (root / "data/raw" / name / "memories.txt").write_text("".join(lines_of(name)), encoding="utf-8")
    (root / "data/raw/relations.yaml").write_text("names: {}\nrelations: {}\n")
    (root / "data/raw/topics").mkdir()
    (root / "data/raw/topics/en.yaml").write_text(yaml.safe_dump(topics()))
    shutil.copy(ROOT / "params.yaml", root)
    set_params(
        root,
        timeline={"2020": {"previous": "base"}, "2021": {"previous": "2020"}},
        reference={},
        encoder={"vocabulary": 300, "width": 16, "copies": 2, "epochs": 1, "batch_size": 16},
        pairs={"max_rows": 200},
        retriever={"steps": 6, "batch_size": 32, "ranker": "hybrid"},  # the one with most to calibrate
    )
    write_data(root / "data")
    shutil.copy(ROOT / PAGE, root / "page.md")
    shutil.copytree(root / "data", root / "before")
    gc.freeze()  # each of a dozen trainings collects garbage: a second, with all libraries to be looked through
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        run(root / "data", root / "page.md", root / "work")
    gc.unfreeze()
    return root


@pytest.fixture
def there(root, monkeypatch):
    monkeypatch.chdir(root)
    return root


def table(page, name):
    """The rows of a table, as on the page: cells by heading."""
    block = re.search(rf"<!-- table: {name} -->\n(.*?)<!-- end -->", page.read_text(), re.DOTALL)[1]
    heads, _, *rows = [[each.strip() for each in line.split("|")[1:-1]] for line in block.splitlines() if "|" in line]
    return {row[0]: dict(zip(heads[1:], row[1:], strict=True)) for row in rows}


def prose(page):
    return re.sub(r"(<!-- table: \w+ -->\n).*?(<!-- end -->)", r"\1\2", page.read_text(), flags=re.DOTALL)


def test_every_table_is_written_and_the_prose_stays(root):
    assert prose(root / "page.md") == prose(ROOT / PAGE)
    for name in ("lines", "few", "sts", "sts_trained", "chat"):
        assert list(table(root / "page.md", name)) == RANKERS, name
    assert list(table(root / "page.md", "similarity")) == ["graded", "key_words"]
    assert len(table(root / "page.md", "ablation")) == 4
    assert table(root / "page.md", "slices")["2020"]["2021"] == "–"


def test_a_ranker_of_the_page_is_what_the_step_wrote(root):
    metrics = artifact.read_json(root / "work/retrievers/2021/metrics.json")
    shown = table(root / "page.md", "lines")
    for heading, name in (("top-1", "top1"), ("MRR", "mrr"), ("F1", "f1"), ("threshold", "threshold")):
        assert shown[metrics["ranker"]][heading] == cell(name, metrics[name])
    for heading, name in zip(("MSE", "MAE", "Pearson", "Spearman"), REGRESSION, strict=True):
        assert shown["sbert"][heading] == cell(name, metrics[name])


def test_each_ablation_changes_what_it_is_named_after(root):
    work = root / "work"
    names = ("without hard negatives", "without augmentation", "without topics")
    folders = [work / "encoder", *(work / name / "encoder" for name in names)]
    assert len({artifact.file_sum(next((folder / "model").rglob("*.safetensors"))) for folder in folders}) == 4
    whole, negatives, plain, none = (artifact.read_rows(folder / "train.jsonl") for folder in folders)
    assert whole == negatives and none == [] and 2 * len(plain) == len(whole)
    told = {message for topic in topics()["topics"] for message in topic["messages"]}
    assert {row["message"] for row in plain} <= told < told | {row["message"] for row in whole}
    assert [artifact.read_json(folder / "variants.json") == NOTHING for folder in folders] == [
        False,
        False,
        True,
        False,
    ]


def test_a_users_own_few_lines_are_tested_on_lines_held_out_of_all(root):
    whole, few = (artifact.read_json(root / "work" / of / "lines.json") for of in ("pairs/2021", "few/pairs"))
    assert len(few["train"]) == 40 and few["calibration"] == []
    told = [{tuple(line[:3]) for line in sides[side]} for side in ("train", "test") for sides in (whole, few)]
    assert told[1] < told[0] and told[3] == {line for line in told[2] if KOREAN.search(line[0])}


def test_the_data_is_only_read(root):
    for name in (STS, CHAT):
        assert (root / "data" / name).read_bytes() == (root / "before" / name).read_bytes()


def test_the_same_run_writes_the_same_figures(there):
    again = there / "again.md"
    shutil.copy(there / "page.md", again)
    run(there / "data", again, there / "again", ["chat"])
    for row, before in zip(table(again, "chat").values(), table(there / "page.md", "chat").values(), strict=True):
        assert row | {"messages/s": ""} == before | {"messages/s": ""}


def test_a_part_whose_data_is_missing_is_named_and_its_tables_stay(there, tmp_path, capsys):
    page = (there / "page.md").read_bytes()
    run(tmp_path, there / "page.md", there / "work", ["sts", "chat"])
    assert (there / "page.md").read_bytes() == page
    told = capsys.readouterr().out
    for name in (STS, CHAT):
        assert f"{tmp_path / name} does not exist: its tables stay as they are." in told


def test_what_can_not_be_written_is_told_before_anything_is_measured(there, tmp_path):
    with pytest.raises(BadInput, match=r"none\.md does not exist"):
        run(there / "data", tmp_path / "none.md", tmp_path / "work", ["lines"])
    (tmp_path / "page.md").write_text("<!-- table: lines -->\n<!-- end -->\n")
    with pytest.raises(BadInput, match="table: similarity"):
        run(there / "data", tmp_path / "page.md", tmp_path / "work", ["lines"])
    with pytest.raises(BadInput, match="no part 'other'"):
        run(there / "data", tmp_path / "page.md", tmp_path / "work", ["other"])
    assert not (tmp_path / "work").exists()


def test_what_the_pipeline_built_is_used_where_it_is_fresh(there, tmp_path):
    fresh = frozenset({"encoder", "pairs@2020", "retriever@2020", "origin", "dataset@2020", "dataset@2021"})
    project = retrievers.Project(load_params(), tmp_path, fresh)
    assert str(retrievers.encoder_folder(project)) == "models/base/encoder"
    assert str(retrievers.pairs_folder(project, "2020")) == "data/pairs/2020"
    assert str(retrievers.retriever_folder(project, "2020")) == "models/2020/retriever"
    assert str(retrievers.examples_folder(project)) == "data/examples"
    assert retrievers.fresh_stages(tmp_path) == frozenset()
    older = retrievers.Project(load_params(), tmp_path, fresh - {"dataset@2020"})
    assert retrievers.examples_folder(older) == tmp_path / "examples"


@given(st.integers(0, 2**32 - 1), st.integers(1, 8), st.integers(2, 15), st.integers(1, 12))
def test_recall_among_the_first_equals_a_brute_force_count(seed, messages, texts, first):
    random = np.random.default_rng(seed)
    scores = random.uniform(size=(messages, texts)).round(1)  # rounded: ties happen
    fits = random.uniform(size=(messages, texts)) < 0.3
    fits[:, 0] = True
    counted = []
    for row, right in zip(scores.tolist(), fits.tolist(), strict=True):
        ranked = sorted(range(texts), key=lambda place: (-row[place], place))
        counted.append(sum(right[place] for place in ranked[:first]) / sum(right))
    assert recall_among_first(scores, fits, first) == pytest.approx(sum(counted) / messages)


def test_the_line_is_that_of_least_squares():
    random = np.random.default_rng(3)
    scores, true = random.uniform(0, 80, 40), random.uniform(size=40)
    assert line_through(scores, true) == pytest.approx(tuple(np.polyfit(scores, true, 1)))
    assert line_through(np.ones(3), np.array([0.0, 0.5, 1.0])) == (0, 0.5)


class Letters:
    """Scores a text by the letters that it shares with the message, out of ten."""

    def scores(self, message, texts):
        return np.array([len(set(message) & set(text)) / 10 for text in texts])


def test_a_line_mends_the_scale_of_scores_and_leaves_their_correlation():
    pairs = Pairs(["abc", "abc", "xyz"], ["ab", "xy", "x"], np.array([1.0, 0.0, 0.5]))
    plain, fitted = (alike(Letters(), Likeness(pairs, pairs), cosine) for cosine in (True, False))
    assert pair_scores(Letters(), pairs).tolist() == [0.2, 0.0, 0.1]
    assert plain["mse"] == pytest.approx((0.8**2 + 0.4**2) / 3) and fitted["mse"] == pytest.approx(0, abs=1e-12)
    assert plain["pearson"] == fitted["pearson"] == pytest.approx(1)


def test_timing_asks_each_message_among_all_texts():
    test = Questions(["red fox", "blue sky"], ["a red fox", "the sky", "a dog"], np.eye(2, 3, dtype=bool))
    scores, per_second = timed(Bm25(), test)
    assert scores.shape == (2, 3) and scores.argmax(1).tolist() == [0, 1] and per_second > 0
    assert [(each.message, each.fits.tolist()) for each in test.asked()] == [
        ("red fox", [True, False, False]), ("blue sky", [False, True, False]),
    ]  # fmt: skip
    assert isinstance(test.asked()[0], Query)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), min_size=1, max_size=30), st.integers(0, 99))
def test_rows_that_share_a_message_or_an_answer_lie_on_one_side(numbers, seed):
    pairs = [(f"m{one}", f"t{other}") for one, other in numbers]
    sides = dealt(pairs, CHAT_SHARES, seed)
    assert sorted(at for side in sides for at in side) == list(range(len(pairs)))
    assert all(len(side) <= share * len(pairs) for side, share in zip(sides, CHAT_SHARES, strict=False))
    for column in (0, 1):
        told = [{pairs[at][column] for at in side} for side in sides]
        assert not told[0] & told[1] and not told[0] & told[2] and not told[1] & told[2]


def test_the_same_answer_is_of_the_same_group():
    pairs = [("a", "yes"), ("b", "no"), ("c", "yes"), ("b", "maybe"), ("d", "so")]
    assert components(pairs)[[0, 1]].tolist() == components(pairs)[[2, 3]].tolist()
    assert len(set(components(pairs).tolist())) == 3
    group = dict(zip((answer for _, answer in pairs), components(pairs).tolist(), strict=True))
    for row in answer_rows(pairs, seed=1):
        assert row["label"] == [group[row["memory"]], group[row["neighbour"]]]


def test_a_measure_that_there_is_none_of_is_a_dash():
    told = markdown(Table(("top1", "precision", "per_second"), {"rrf": {"top1": 0.5, "per_second": 1234.5}}, "Note."))
    assert "| rrf | 0.500 | – | 1,234 |" in told and told.endswith("\n\nNote.\n")


def test_only_the_named_table_of_a_page_changes(tmp_path):
    (tmp_path / "page.md").write_text(
        "A\n<!-- table: a -->\nold\n<!-- end -->\nB\n<!-- table: b -->\nold\n<!-- end -->\n"
    )
    assert placed(tmp_path / "page.md", "b", "n\\1w\n") == (
        "A\n<!-- table: a -->\nold\n<!-- end -->\nB\n<!-- table: b -->\nn\\1w\n<!-- end -->\n"
    )
