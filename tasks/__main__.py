"""`python -m tasks STEP --name path ...`: how dvc.yaml starts a step."""

import sys

from tasks.errors import PerennialError
from tasks.steps import run_step


def main() -> int:
    try:
        run_step(sys.argv[1:])
    except PerennialError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
