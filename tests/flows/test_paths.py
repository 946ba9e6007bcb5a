"""A project's folder may have any name, and DVC's cache may put links into it: publishing works the same."""

import shutil

import pytest

from flows.publish import publish_timeline
from tasks import artifact
from tasks.lm.causal import build, save
from tasks.registry import fetch, store
from tests.flows.conftest import small_params
from tests.lm.conftest import ROWS, SETTINGS
from tests.scoring.made import write_evaluation

NAMES = (
    "a%20b",
    "what?next",
    "[old]",
    "x#y",
    'it\'s "new"',
    "한글 이름",
    "~",
    "a&b=c;d",
    "${HOME}",
    "back\\slash",
    "%",
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory, servable):
    """One slice's model and scores, untrained and made."""
    root = tmp_path_factory.mktemp("trained") / "project"
    model, tokenizer = build(SETTINGS, [row["prompt"] for row in ROWS], seed=1)
    with artifact.writing(root / "models/one/lm") as folder:
        save(model, tokenizer, folder)
    with artifact.writing(root / "models/one/retriever") as folder:
        (folder / "metrics.json").write_text("{}")
    with artifact.writing(root / "data/examples/one") as folder:
        (folder / "raw.json").write_text("{}")
    write_evaluation(root / "reports/evaluation", ("one",))
    (root / "reports/plots").mkdir()
    (root / "reports/plots/kept.png").write_bytes(b"png")
    (root / "reports/timeline.json").write_text("{}")
    text = small_params().replace('  "two": {previous: "one"}\n', "")
    (root / "params.yaml").write_text(text.replace('reference:\n  "two": {previous: one/lm}\n', "reference: {}\n"))
    return root


@pytest.fixture
def copied(trained, monkeypatch):
    """Put the project into a folder, enter it, and let MLflow's files lie there."""

    def copy(folder):
        shutil.copytree(trained, folder)
        monkeypatch.delenv("MLFLOW_TRACKING_URI")
        monkeypatch.chdir(folder)
        return folder

    return copy


def published_in(root):
    """Publish, and see that all of it is there, in this folder and nowhere else."""
    done = publish_timeline(root)
    assert (done.problem, done.published, str(done.champion)) == (None, ("one",), "one (version 1)")
    assert store.exists()
    shutil.rmtree(root / "models/one/lm")
    served = fetch.models_of(done.champion, root) / "lm"  # from MLflow, as it is nowhere else
    shutil.copytree(served, root / "models/one/lm")
    assert (root / "mlflow.db").is_file()
    assert list((root / "mlruns").rglob("model.safetensors"))
    assert list((root / "mlruns").rglob("kept.png"))
    assert publish_timeline(root).published == ()


def test_a_project_is_published_whatever_its_folder_is_called(copied, tmp_path):
    published_in(copied(tmp_path.joinpath(*NAMES)))
    folder = tmp_path
    for name in NAMES:  # and nothing is written beside it, by a part of its name
        assert [path.name for path in folder.iterdir()] == [name]
        folder /= name


@pytest.mark.parametrize("kind", ["symlink", "hardlink"])
def test_a_project_is_published_whose_outputs_are_links_into_a_cache(copied, tmp_path, kind):
    root = copied(tmp_path / "project")
    cache = tmp_path / "cache"
    cache.mkdir()
    for number, path in enumerate(path for path in root.rglob("*") if path.is_file() and path.suffix != ".yaml"):
        kept = cache / str(number)
        path.rename(kept)
        kept.chmod(0o444)
        path.symlink_to(kept) if kind == "symlink" else path.hardlink_to(kept)
    published_in(root)
    assert not [path for path in (root / "mlruns").rglob("*") if path.is_symlink()]
    assert all(path.stat().st_nlink == 1 for path in (root / "mlruns").rglob("*") if path.is_file())
    assert {path.stat().st_mode & 0o777 for path in cache.iterdir()} == {0o444}
