"""No test touches the network, the user's settings or another project's stores."""

import gc
import os
import shutil
import sys
import tempfile
from pathlib import Path

STORES = Path(tempfile.mkdtemp(prefix="perennial-tests-"))

# Before any library is imported.
os.environ.update(
    HF_HUB_OFFLINE="1",
    TRANSFORMERS_OFFLINE="1",
    DO_NOT_TRACK="true",
    PREFECT_HOME=str(STORES / "prefect"),
    PREFECT_SERVER_ANALYTICS_ENABLED="false",
    PREFECT_LOGGING_LEVEL="CRITICAL",
    PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS="120",  # on a machine that others use, too
    MLFLOW_TRACKING_URI=f"sqlite:///{STORES / 'mlflow.db'}",
    DVC_NO_ANALYTICS="1",
    DVC_SITE_CACHE_DIR=str(STORES / "dvc"),
    MPLBACKEND="Agg",
    OMP_NUM_THREADS="1",  # several workers share the machine
    COLUMNS="120",
    PATH=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",  # `python` and `dvc` of this environment
    PYTHONPATH=str(Path(__file__).parents[1]),
)
for name in ("PREFECT_API_URL", "PREFECT_PROFILE"):
    os.environ.pop(name, None)


def pytest_configure(config):
    from hypothesis import settings

    settings.register_profile("shared", deadline=None)  # a busy machine is no defect
    settings.load_profile("shared")
    config.addinivalue_line("filterwarnings", "ignore::DeprecationWarning:dvc.*")


LONGEST = (
    "end_to_end/test_timeline.py", "flows/test_methods.py", "end_to_end/test_killing.py",
    "test_slices_that_bring_less.py",
)  # fmt: skip


def pytest_collection_modifyitems(items):
    """The longest files begin first: a worker takes whole files, and at the end one would wait for the other."""
    items.sort(key=lambda item: not item.path.as_posix().endswith(LONGEST))


def pytest_collection_finish():
    """What the modules imported stays, and no collection of garbage need look through it again: that takes half a
    second, and a trainer collects after every training."""
    gc.collect()
    gc.freeze()


def pytest_unconfigure():
    shutil.rmtree(STORES, ignore_errors=True)
