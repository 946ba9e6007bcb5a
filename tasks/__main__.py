"""`python -m tasks STEP --name path ...`: how dvc.yaml starts a step."""

import sys
from pathlib import Path

from tasks.closure import refuse_other_code
from tasks.errors import exit_code_of
from tasks.steps import run_step, usage


def main() -> int:
    return exit_code_of(_run)


def _run() -> None:
    if {"--help", "-h"} & set(sys.argv[1:]):
        print(usage(sys.argv[1:]))
        return
    refuse_other_code(Path.cwd())
    run_step(sys.argv[1:])


if __name__ == "__main__":
    raise SystemExit(main())
