import io
import json

import pytest
from rich.console import Console

from tasks import artifact
from tasks.errors import BadInput, Corrupt
from tasks.report import report
from tasks.reporting.cost import write_cost_page
from tasks.reporting.summary import print_summary
from tasks.scoring.timeline import OF_THE_DEFAULT, gather_timeline, read_scores
from tests.scoring.made import SLICES as SLICE_NAMES
from tests.scoring.made import write_evaluation

SLICES = ["2020", "2021", "2022"]


def scores(place, own=0.9, old=0.8):
    name, seen = SLICES[place], SLICES[: place + 1]
    block = {
        "accuracy": {each: own if each == name else old for each in seen},
        "paraphrase_accuracy": {each: own - 0.1 for each in seen},
        "everyday_accuracy": {each: own - 0.2 for each in seen},
        "perplexity": dict.fromkeys(seen, 2.0),
    }
    ahead = {"accuracy": {name: 0.1}, "paraphrase_accuracy": {name: 0.1}, "everyday_accuracy": {name: 0.1}}
    ahead["perplexity"] = {name: 50.0 + place}
    valid = {"accuracy": old + 0.05, "paraphrase_accuracy": old, "everyday_accuracy": old - 0.1}
    categories = {
        "new": own,
        "updated": None if place == 0 else own,
        "retained": None if place == 0 else old,
        "stale": 0.0,
    }
    return {
        "slice": name, "model": block, "stage1": block, "previous": ahead, "base": {**ahead, "accuracy": {name: 0.0}},
        "rows": dict.fromkeys(seen, 10), "valid": valid, "everyday": {"typo": 0.5}, "stage1_valid": valid,
        "categories": categories,
        "stage1_categories": categories,
        "retriever": {"lines": 4, "top1": 0.5, "by_slice": {each: {"top1": 0.5} for each in seen}},
        "samples": [{"prompt": "Who <leads> 한국?", "expected": "A & B", "answer": "A & B"}],
    }  # fmt: skip


@pytest.fixture
def reports(tmp_path):
    for place, name in enumerate(SLICES):
        with artifact.writing(tmp_path / "evaluation" / name) as folder:
            artifact.write_json(folder / "scores.json", scores(place))
            (folder / "scatter.csv").write_text("predicted,true\n0.5,1.0\n0.1,0.0\n")
        if place:
            with artifact.writing(tmp_path / "evaluation/naive" / name) as folder:
                artifact.write_json(folder / "scores.json", scores(place, old=0.1))
    return tmp_path


def make(reports):
    report(reports / "evaluation", reports / "plots", reports / "index.html", reports / "timeline.json")
    return json.loads((reports / "timeline.json").read_text())


def test_the_timeline_holds_the_matrices_and_what_is_read_off_them(reports):
    told = make(reports)
    assert told["slices"] == SLICES
    assert told["accuracy"] == [[0.9, None, None], [0.8, 0.9, None], [0.8, 0.8, 0.9]]
    assert told["perplexity"][0] == [2.0, 51.0, None]  # the next slice's text, before it was learnt
    assert told["forgetting"] == pytest.approx(0.1)
    assert told["forward_transfer"] == pytest.approx(0.1)
    assert told["naive"]["accuracy"][2] == [0.1, 0.1, 0.9]
    assert told["naive"]["accuracy"][0] == told["accuracy"][0]  # one model: there is nothing to keep yet
    assert told["categories"]["2020"]["retained"] is None


def test_the_report_has_the_same_bytes_when_it_is_made_again(reports):
    make(reports)
    files = [reports / "timeline.json", reports / "index.html", *sorted((reports / "plots").iterdir())]
    before = [path.read_bytes() for path in files]
    make(reports)
    assert [path.read_bytes() for path in files] == before


def test_the_page_fetches_nothing_and_shows_words_as_they_are(reports):
    make(reports)
    page = (reports / "index.html").read_text()
    assert "http" not in page
    assert page.count("data:image/png;base64,") == 5
    assert "Who &lt;leads&gt; 한국?" in page


def test_what_it_cost_has_a_page_of_its_own(reports):
    make(reports)
    for name in SLICES:
        artifact.write_file(reports / "cost" / name / "stage1.json", b'{"peak_memory_mb": 768.0, "seconds": 30.0}')
    write_cost_page(reports / "cost", reports / "timeline.json", reports / "cost.html")
    page = (reports / "cost.html").read_text()
    assert "1.5 minutes in all, at most 0.8 GiB of memory" in page
    assert page.count("data:image/png;base64,") == 1
    assert "http" not in page


def test_a_missing_slice_is_an_error_and_never_zero(reports):
    artifact.shutil.rmtree(reports / "evaluation/2021")
    with pytest.raises(BadInput, match="lacks the scores of a slice before 2022"):
        make(reports)


def test_without_a_reference_there_is_none(reports):
    artifact.shutil.rmtree(reports / "evaluation/naive")
    assert make(reports)["naive"] is None


@pytest.mark.parametrize("width", [80, 100])
def test_the_table_fits_the_terminal_and_has_every_slice(reports, width):
    make(reports)
    console = Console(width=width, record=True, file=io.StringIO())
    print_summary(console, reports / "timeline.json")
    text = console.export_text()
    assert all(len(line) <= width for line in text.splitlines())
    assert "…" not in text
    for part in (*SLICES, "90.0", "naive", "forgetting 10.0", "2.0 / 51.0"):
        assert part in text


def test_a_missing_score_is_named_and_a_file_that_was_changed_is_refused(reports):
    folder = reports / "evaluation/2021"
    incomplete = json.loads(json.dumps(scores(1)))
    del incomplete["stage1"]["perplexity"]["2020"]
    with artifact.writing(folder) as out:
        artifact.write_json(out / "scores.json", incomplete)
    with pytest.raises(BadInput, match=r"2021/scores.json: stage1.perplexity.2020 is missing"):
        make(reports)
    (folder / "scores.json").write_text(json.dumps(scores(1)))
    with pytest.raises(Corrupt, match=r"scores.json was changed"):
        make(reports)


def test_a_whole_timeline_tells_what_the_method_is_worth(tmp_path):
    write_evaluation(tmp_path / "evaluation")
    told = make(tmp_path)
    assert told["slices"] == list(SLICE_NAMES)
    assert told["valid"]["2024"]["accuracy"] - told["naive"]["valid"]["2024"]["accuracy"] > 0.4
    assert told["stage2"]["2024"] == {"accuracy": 0.0, "paraphrase_accuracy": 0.0, "everyday_accuracy": 0.0}
    page = (tmp_path / "index.html").read_text()
    assert "93.2 %" in page
    assert 'class="wrong"><td>페루의 수도는?</td>' in page


def test_one_slice_alone_is_a_timeline_too(tmp_path):
    write_evaluation(tmp_path / "evaluation", ("law",))
    told = make(tmp_path)
    assert (told["slices"], told["naive"], told["forgetting"]) == (["law"], None, None)
    console = Console(width=80, record=True, file=io.StringIO())
    print_summary(console, tmp_path / "timeline.json")
    assert "law" in console.export_text()


def test_the_retrievers_have_a_matrix_and_a_forgetting_of_their_own(tmp_path):
    write_evaluation(tmp_path)
    scores = read_scores(tmp_path, OF_THE_DEFAULT)
    for place, each in enumerate(scores):  # the oldest slice's lines are found less and less
        each["retriever"]["by_slice"][scores[0]["slice"]]["top1"] = 0.9 - 0.1 * place
    found = gather_timeline(scores, [])["retrievers"]
    assert [row[0] for row in found["top1"]] == pytest.approx([0.9 - 0.1 * place for place in range(len(scores))])
    assert found["top1"][0][1] is None
    assert found["forgetting"] > 0 > found["backward_transfer"]
