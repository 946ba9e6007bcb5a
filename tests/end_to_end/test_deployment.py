"""prefect.yaml on a real Prefect server with a real worker: MLflow away, then there; then everything refused."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request

import pytest

from tests.end_to_end.project import ROOT, make_project, set_params
from tests.end_to_end.test_timeline import perennial

pytestmark = pytest.mark.slow
PYTHON = [sys.executable, "-m"]


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def wait_for(address):
    give_up = time.monotonic() + 180
    while time.monotonic() < give_up:
        try:
            return urllib.request.urlopen(address, timeout=2).close()
        except OSError:
            time.sleep(0.3)
    raise AssertionError(f"{address} never answered")


@pytest.fixture
def started():
    """Starts programs, and ends them."""
    processes = []

    def start(*command, **options):
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "start_new_session": True}
        processes.append(subprocess.Popen([*PYTHON, *command], **quiet, **options))

    yield start
    for process in processes:
        os.killpg(process.pid, 9)
        process.wait()


def latest(environment, root):
    """Name and state of the latest flow run that was asked for, and whether it has ended."""
    code = (
        "from prefect import get_client\n"
        "with get_client(sync_client=True) as client:\n"
        "    asked = [each for each in client.read_flow_runs() if not each.auto_scheduled]\n"
        "    run = max(asked, key=lambda each: each.created)\n"
        "    print(run.name, run.state.name, run.state.is_final())"
    )
    return subprocess.check_output([sys.executable, "-c", code], env=environment, cwd=root, text=True).split()[-3:]


def test_the_deployment_is_not_green_until_all_is_published_nor_when_it_was_refused(tmp_path, started):
    root = make_project(tmp_path / "project", steps=5)
    shutil.copy(ROOT / "prefect.yaml", root / "prefect.yaml")
    perennial(root, "run")  # what the deployment does is to publish elsewhere
    prefect, mlflow = free_port(), free_port()
    environment = os.environ | {
        "PYTHONPATH": str(root),
        "PWD": str(root),  # as a shell sets it, which prefect.yaml reads
        "PREFECT_HOME": str(tmp_path / "prefect"),
        "PREFECT_API_URL": f"http://127.0.0.1:{prefect}/api",
        "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{mlflow}",
        "CI": "1",  # asks no questions
    }
    started("prefect", "server", "start", "--port", str(prefect), env=environment, cwd=root)
    wait_for(f"http://127.0.0.1:{prefect}/api/health")

    def tell(*words):
        subprocess.run([*PYTHON, "prefect", *words], env=environment, cwd=root, check=True, capture_output=True)

    tell("work-pool", "create", "--type", "process", "local")
    tell("deploy", "--all")
    started("prefect", "worker", "start", "--pool", "local", env=environment, cwd=root)

    def run_and_wait(meanwhile=lambda: None):
        tell("deployment", "run", "perennial/monthly")
        give_up, did = time.monotonic() + 400, False
        while time.monotonic() < give_up:
            name, state, is_final = latest(environment, root)
            if is_final == "True":
                return state
            if state == "Running" and not did:
                time.sleep(15)  # the first try has failed by then, or is about to
                meanwhile()
                did = True
            time.sleep(2)
        raise AssertionError(f"{name} is still {state}")

    def start_mlflow():
        files = str(tmp_path / "files")
        where = ["--backend-store-uri", f"sqlite:///{tmp_path / 'mlflow.db'}", "--artifacts-destination", files]
        started("mlflow", "server", "--port", str(mlflow), "--workers", "1", *where, cwd=tmp_path)

    assert run_and_wait(start_mlflow) == "Completed"  # after a try that found nobody
    set_params(root, gate={"new_floor": 1.0, "reworded_floor": 1.0, "chat_floor": 1.0}, stage1={"steps": 4})
    assert run_and_wait() == "NotAccepted"
