"""What became of a pretrained model's language stands on the page and under the table."""

import io

from rich.console import Console

from tasks import artifact
from tasks.report import report
from tasks.reporting.summary import print_summary
from tests.scoring.made import made_scores, with_stages, write_scores

SLICES = ("2020", "2021")


def reported(root, pretrained):
    for place, name in enumerate(SLICES):
        general = {"model": {"en": 20.5 + place, "ko": 30.0}, "base": {"en": 19.25, "ko": 31.0}}
        measured = {"pretrained": pretrained, "general_perplexity": general, "chat_accuracy": 0.625}
        write_scores(root / "evaluation" / name, with_stages(made_scores(place, SLICES)) | measured)
    report(root / "evaluation", root / "plots", root / "index.html", root / "timeline.json")
    output = io.StringIO()
    print_summary(Console(file=output, width=80), root / "timeline.json")
    return artifact.read_json(root / "timeline.json"), (root / "index.html").read_text(), output.getvalue()


def test_of_a_pretrained_model_general_text_is_shown_from_the_base_on(tmp_path):
    timeline, page, table = reported(tmp_path, pretrained=True)
    assert timeline["pretrained"] is True
    assert timeline["general_perplexity"]["2021"]["model"]["en"] == 21.5
    assert "<th>en, before all</th><th>en, after</th>" in page
    assert "<td>2021</td><td>19.2</td><td>21.5</td><td>31.0</td><td>30.0</td>" in page
    assert "general: perplexity of ordinary text, from the base's: en 19.2 to 21.5, ko 31.0" in table
    assert max(map(len, table.splitlines())) <= 80


def test_of_a_model_built_here_it_is_measured_and_not_shown(tmp_path):
    timeline, page, table = reported(tmp_path, pretrained=False)
    assert timeline["general_perplexity"]["2021"]["base"]["ko"] == 31.0
    assert "General text" not in page
    assert "general:" not in table


def test_chat_stands_beside_the_facts(tmp_path):
    timeline, page, _ = reported(tmp_path, pretrained=False)
    assert timeline["chat_accuracy"] == {"2020": 0.625, "2021": 0.625}
    assert "<th>chat</th>" in page and "<td>62.5</td>" in page
