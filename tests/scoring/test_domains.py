"""Two domains of labelled rows and facts through every step that evaluates, with a model that learns them by heart."""

import io
import re

import pytest
from rich.console import Console

from tasks.artifact import read_json
from tasks.dataset import dataset
from tasks.errors import BadInput
from tasks.evaluate import evaluate
from tasks.lm.generate import answer
from tasks.method_params import Replay
from tasks.params import Evaluate, Keep, Pretrain, Stage1, Stage2
from tasks.pretrain import pretrain
from tasks.report import report
from tasks.reporting.summary import print_summary
from tasks.scoring.series import series_of
from tasks.stage1 import stage1
from tasks.stage2 import stage2
from tests.every_step import ENGLISH, HEADER, begin_examples, bring_examples, lines

PRETRAIN = Pretrain(
    slice="law", model="small", layers=2, width=32, heads=2, positions=96, vocabulary=400, steps=5,
    batch_tokens=256, learning_rate=3e-3, warmup=0.1,
)  # fmt: skip
STAGE1 = Stage1(steps=120, batch_tokens=256, learning_rate=1e-2, warmup=0.1, checkpoint_every=500)
STAGE2 = Stage2(epochs=1, batch_positions=64, learning_rate=1e-3)
EVALUATE = Evaluate(batch_tokens=1024, samples=4, rows=40, shots=1)
REPLAY = (Replay(name="replay", share=0.4),)
DOMAINS = {
    "law": ({"theft": "crime", "murder": "crime", "lease": "contract", "sale": "contract"}, "Peru,court,Lima"),
    "2001": ({"gout": "joint", "arthritis": "joint", "asthma": "lung", "croup": "lung"}, "Peru,clinic,Cusco"),
}
LAST = "2001"


def quiet(step, values):
    pass


def domain_files(words, fact):
    asked = {"train": "train", "case": "train", "please": "train", "test": "test"}  # as many rows as the fact has
    rows = [
        {"input": f"{word} {behind}", "target": target, "split": split}
        for word, target in words.items() for behind, split in asked.items()
    ]  # fmt: skip
    return {"examples.jsonl": lines(*rows), "facts.csv": f"{HEADER}{fact}\n"}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("domains")
    begin_examples(root)
    before = "base"
    for name, (words, fact) in DOMAINS.items():
        examples = bring_examples(root, name, domain_files(words, fact), before, "domain")
        if before == "base":
            pretrain(PRETRAIN, 1, examples, root / "base/lm", root / "scratch", quiet)
        start, first, end = root / before / "lm", root / name / "stage1", root / name / "lm"
        stage1(STAGE1, REPLAY, Keep(rows="all"), 1, examples, start, first, root / f"scratch-{name}", quiet)
        stage2(STAGE2, 1, examples, first, end, quiet)
        evaluate(EVALUATE, examples, end, root / "evaluation" / name, first, start, root / "base/lm")
        before = name
    report(root / "evaluation", root / "plots", root / "index.html", root / "timeline.json", "domain")
    return root


def scores_of(root, name):
    return read_json(root / "evaluation" / name / "scores.json")


def test_no_fact_is_updated_and_none_is_stale(root):
    told = scores_of(root, LAST)["categories"]
    assert told["updated"] is None and told["stale"] is None
    assert told["new"] is not None and told["retained"] is not None


def test_the_labels_are_those_that_the_model_answers_word_by_word(root):
    """Precision, recall and F1 of the last model, counted by hand from its answers one by one."""
    from tasks.lm.causal import load

    model = load(root / LAST / "lm")
    pairs = [
        (target, answer(*model, f"{word} test")) for words, _ in DOMAINS.values() for word, target in words.items()
    ]
    known = {target for target, _ in pairs}
    met = known & {each for pair in pairs for each in pair}
    f1 = []
    for label in met:
        hit = sum(expected == said == label for expected, said in pairs)
        f1.append(2 * hit / sum((expected == label) + (said == label) for expected, said in pairs))
    assert scores_of(root, LAST)["labels"]["macro_f1"] == pytest.approx(sum(f1) / len(f1))
    assert sum(f1) > 0


def test_few_shot_scores_stand_beside_the_others(root):
    told = scores_of(root, LAST)["few_shot"]
    assert (told["shots"], set(told["accuracy"]), set(told["valid"])) == (
        1, {"law", LAST}, {"accuracy", "paraphrase_accuracy"}
    )  # fmt: skip


def test_the_report_speaks_of_domains(root):
    told = read_json(root / "timeline.json")
    assert (told["kind"], told["slices"]) == ("domain", ["law", LAST])
    assert told["few_shot"]["accuracy"][0][1] is None
    assert set(told["labels"]) == {"law", LAST}
    page = (root / "index.html").read_text()
    words = re.sub('src="data:[^"]*"', "", page.split("</style>")[1])
    assert "slice" not in words
    for part in ("2 domains of data", "domain by domain", "With worked examples", "macro-F1", "<th>after domain</th>"):
        assert part in words


def test_the_terminals_table_speaks_of_domains_and_fits(root):
    console = Console(width=80, record=True, file=io.StringIO())
    print_summary(console, root / "timeline.json")
    text = console.export_text()
    assert "slice" not in text
    assert all(len(line) <= 80 for line in text.splitlines())
    told = read_json(root / "timeline.json")
    valid, labels = told["few_shot"]["valid"][LAST], told["labels"][LAST]
    assert f"1-shot:  all {100 * valid['accuracy']:.1f}, reworded" in text
    assert f"macro-F1 {100 * labels['macro_f1']:.1f}" in text


def test_the_curves_of_domains_stand_at_their_places(root):
    scores = [scores_of(root, name) for name in DOMAINS]
    series = series_of(scores, "domain")
    assert [step for step, _ in series["valid.accuracy"]] == [0, 1]
    assert [step for step, _ in series["labels.macro_f1"]] == [0, 1]
    assert [step for step, _ in series_of(scores[1:], "domain")["new"]] == [0]  # though its name is a number


def test_fewer_rows_are_asked_evenly(root, tmp_path):
    settings = EVALUATE.model_copy(update={"rows": 4, "shots": 0})
    evaluate(settings, root / "examples" / LAST, root / LAST / "lm", tmp_path / "scores")
    scores = read_json(tmp_path / "scores/scores.json")
    assert scores["rows"] == {"law": 2, LAST: 2}
    assert "few_shot" not in scores
    whole = scores_of(root, LAST)
    assert whole["rows"] == {"law": 5, LAST: 5}


def test_a_fact_of_another_domain_is_never_overridden(root, tmp_path):
    (tmp_path / "raw").mkdir()
    for file, content in domain_files(DOMAINS["law"][0], "Peru,court,Cusco").items():
        (tmp_path / "raw" / file).write_text(content)
    with pytest.raises(BadInput, match='"Peru, court" is Lima in domain law and Cusco here'):
        dataset(ENGLISH, tmp_path / "raw", root / "examples" / LAST, tmp_path / "out", "domain")
