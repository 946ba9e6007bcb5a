"""The command line: quick, one sentence per mistake, and no server where there is nothing to do."""

import json
import shutil
import signal as signals
import subprocess
import sys
import time
from io import StringIO
from pathlib import Path
from types import ModuleType

import pytest
from rich.console import Console

from flows import commands
from flows.chat import chat_with
from flows.publish import NotAccepted, NotPublished, Published
from flows.run import run_timeline
from flows.status import print_status
from tasks.artifact import write_json
from tasks.errors import BadInput
from tests.flows.conftest import HEADER, perennial, run, shell

PERENNIAL = [sys.executable, "-m", "flows.commands"]
STAND_INS = {
    "flows.publish": {"publish_timeline": lambda root: Published(champion="two (version 5)")},
    "tasks.registry.champion": {"champion": lambda names: "two (version 5)"},
    "tasks.reporting.summary": {"print_summary": lambda console, path: console.print("the table")},
}


@pytest.fixture
def stand_ins(monkeypatch):
    """What publishes and prints has its own tests."""
    for name, functions in STAND_INS.items():
        module = ModuleType(name)
        vars(module).update(functions)
        monkeypatch.setitem(sys.modules, name, module)


@pytest.fixture
def page():
    return Console(record=True, width=120, file=StringIO())


def test_help_comes_at_once(tmp_path):
    """0.2 s on an idle machine, as long as it imports nothing that takes longer."""
    heavy = {"dvc", "matplotlib", "mlflow", "numpy", "pandas", "prefect", "torch", "transformers"}
    program = (
        "import sys; from flows.commands import main; sys.argv = ['perennial', '--help']\n"
        "try: main()\n"
        f"finally: print(sorted({heavy!r} & set(sys.modules)))"
    )
    said = shell(tmp_path, sys.executable, "-c", program)
    assert said.endswith("[]\n")
    for command in ("run", "status", "add", "remove", "promote", "rollback", "history", "chat", "compare",
                    "report"):  # fmt: skip
        assert f" {command} " in said


def test_outside_a_project_one_sentence_says_so(tmp_path):
    said = perennial(tmp_path, "status", code=2)
    assert said.count("\n") == 1
    assert "no Perennial project" in said


def test_the_project_is_found_from_a_folder_inside(project, monkeypatch):
    monkeypatch.chdir(project / "data/raw")
    assert commands.enter(verbose=False) == project
    assert Path.cwd() == project


def test_mistakes_in_the_parameters_are_a_sentence(project):
    path = project / "params.yaml"
    path.write_text(path.read_text().replace("seed: 20", "sed: 20"))
    said = perennial(project, "run", code=2)
    assert "params.yaml" in said
    assert "Traceback" not in said


def test_a_name_that_was_given_does_not_steer_the_terminal(project):
    said = perennial(project, "memory", "import", "\x1b[2Jgone.txt", code=2)
    assert said.count("\n") == 1 and "[2Jgone.txt" in said
    assert "\x1b" not in said


def test_with_nothing_to_do_neither_prefect_nor_torch_is_imported(project, stand_ins, page):
    run(project)
    program = (
        "import sys; from tests.flows.test_commands import *; from types import ModuleType\n"
        "for name, functions in STAND_INS.items():\n"
        "    sys.modules[name] = ModuleType(name); vars(sys.modules[name]).update(functions)\n"
        "sys.argv = ['perennial', 'run']\n"
        "for name in ('prefect', 'torch', 'mlflow'): sys.modules.pop(name, None)\n"
        "try: commands.main()\n"
        "except SystemExit as end: assert end.code == 0\n"
        "print(sorted({'prefect', 'torch', 'mlflow'} & set(sys.modules)))"
    )
    said = shell(project, sys.executable, "-c", program)
    assert "All 3 steps were up to date" in said
    assert said.rstrip().endswith("[]")


def test_status_shows_each_step_of_each_slice(project, stand_ins, page):
    run(project)
    (project / "data/raw/two/facts.csv").write_text(HEADER + "Peru,capital,Quito\n")
    print_status(project, page)
    said = page.export_text()
    assert [line.split("│")[1:3] for line in said.splitlines() if line.startswith("│")] == [
        [" one   ", " fresh   "],
        [" two   ", " stale   "],
    ]
    assert "Champion: two (version 5)" in said
    assert "ended well" in said
    assert "1 of 3 steps are to be done" in said


def test_status_says_how_full_the_newest_memory_is(project, page):
    for name, count in (("one", 1), ("two", 3)):
        memory = {"rank": 151.6 * count, "features": 512 * count, "buckets": count}
        scores = project / "reports/evaluation" / name / "scores.json"
        scores.parent.mkdir(parents=True)
        write_json(scores, {"memory": memory})
    print_status(project, page)
    assert "Memory: two takes 455 of 1,536 directions (30%), in 3 buckets" in page.export_text()
    (project / "reports/evaluation/two/scores.json").unlink()
    print_status(project, page)
    assert "Memory: one takes 152 of 512 directions (30%)\n" in page.export_text()


def test_status_names_what_a_run_would_not_find(project, page):
    shutil.rmtree(project / "data/raw/two")
    (project / "data/raw/relations.yaml").unlink()
    print_status(project, page)
    said = page.export_text()
    assert [line for line in said.splitlines() if "is missing" in line] == [
        f"{name} is missing: a run stops there. Restore it." for name in ("data/raw/relations.yaml", "data/raw/two")
    ]


def test_chat_needs_a_model_and_says_how_to_get_one(project, stand_ins, page, monkeypatch):
    with pytest.raises(BadInput, match="There is no slice 'nine'. The slices are: one, two"):
        chat_with(project, "nine", "me", page)
    with pytest.raises(BadInput, match="There is no slice ''"):
        chat_with(project, "", "me", page)
    with pytest.raises(BadInput, match="models/two/lm is missing or incomplete. Run `perennial run`"):
        chat_with(project, "two", "me", page)
    module = sys.modules["tasks.registry.champion"]
    monkeypatch.setattr(module, "scores_of", None, raising=False)
    monkeypatch.setattr(module, "Champion", None, raising=False)
    monkeypatch.setattr(module, "champion", lambda names: None)
    with pytest.raises(BadInput, match="No model is champion yet"):
        chat_with(project, None, "me", page)


def test_status_says_that_nobody_knows_where_the_registry_is_away(project, page, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    print_status(project, page)
    assert "Champion: unknown. The MLflow server http://127.0.0.1:9 does not answer" in page.export_text()


@pytest.mark.parametrize(
    ("published", "code", "champion"),
    [
        (Published(problem=NotPublished("MLflow is away.")), 4, "unknown"),
        (Published(champion="one (version 1)", decisions={"two": {}}, problem=NotAccepted("two: no.")), 5, "one (ver"),
    ],
)
def test_a_run_that_publishes_nothing_or_is_refused_ends_so_and_tells_the_table_first(
    project, stand_ins, page, monkeypatch, published, code, champion
):
    run(project)
    monkeypatch.setattr(sys.modules["flows.publish"], "publish_timeline", lambda root: published)
    with pytest.raises(type(published.problem)) as ended:
        run_timeline(project, page)
    assert ended.value.exit_code == code
    said = page.export_text()
    assert f"Champion: {champion}" in said
    assert "All 3 steps were up to date" in said


def test_a_finished_step_is_one_plain_line_where_there_is_no_terminal(project, stand_ins, page):
    run_timeline(project, page)
    lines = [line.split() for line in page.export_text().splitlines() if " done " in line]
    assert [line[:-3] for line in lines] == [["origin"], ["dataset", "one"], ["dataset", "two"]]


def test_ctrl_c_and_a_polite_kill_say_how_to_go_on_and_are_noted(project):
    with (project / "tasks/dataset.py").open("a") as file:
        file.write("\nimport time\ntime.sleep(60)\n")
    for signal, code in ((2, 130), (15, 143)):
        process = subprocess.Popen(
            [*PERENNIAL, "run", "--isolated"],
            cwd=project,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            preexec_fn=_heeds_ctrl_c,  # noqa: PLW1509 (the child runs no thread yet)
        )
        while not (project / "data/examples/base").exists() or "running" not in outcome_of(project):
            assert process.poll() is None, process.communicate()
            time.sleep(0.05)
        time.sleep(1)
        process.send_signal(signal)
        said, _ = process.communicate(timeout=120)
        assert process.returncode == code, said
        assert outcome_of(project) == "interrupted"
    assert "Traceback" not in said


def _heeds_ctrl_c():
    """A shell starts background jobs, such as a whole test run, with Ctrl-C ignored; children inherit that."""
    signals.signal(signals.SIGINT, signals.SIG_DFL)


def outcome_of(project):
    try:
        return json.loads((project / ".perennial/last_run.json").read_text())["outcome"]
    except FileNotFoundError:
        return ""
