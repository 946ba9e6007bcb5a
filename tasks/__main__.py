"""`python -m tasks STEP --name path ...`: how dvc.yaml starts a step."""

import sys
from pathlib import Path

from tasks.closure import refuse_other_code
from tasks.errors import sentence_of
from tasks.steps import run_step, usage


def main() -> int:
    try:
        if {"--help", "-h"} & set(sys.argv[1:]):
            print(usage(sys.argv[1:]))
            return 0
        refuse_other_code(Path.cwd())
        run_step(sys.argv[1:])
    except Exception as error:
        if not (told := sentence_of(error)):
            raise
        print(told, file=sys.stderr)
        return told.exit_code
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
