"""Installs this project's packages for `make`: with uv, in seconds, or with pip where uv can't.

    python install.py '.[test]'

It fills the virtual environment that runs it, with the versions of constraints.txt. uv reads none of pip's settings,
and without them may find other builds: torch with gigabytes of CUDA, and not the small one that pip was pointed to. So
it is handed them; where pip was told something that uv has no word for, pip installs.
"""

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

CONSTRAINTS = "constraints.txt"
OLDEST = (0, 5)  # an older uv passes over some of these variables without a word
HANDED_OVER = {
    "index-url": ("UV_DEFAULT_INDEX", " "),
    "extra-index-url": ("UV_INDEX", " "),
    "find-links": ("UV_FIND_LINKS", ","),
    "constraint": ("UV_CONSTRAINT", " "),
    "trusted-host": ("UV_INSECURE_HOST", " "),
    "cert": ("SSL_CERT_FILE", " "),
    "proxy": ("ALL_PROXY", " "),
    "timeout": ("UV_HTTP_TIMEOUT", " "),
    "default-timeout": ("UV_HTTP_TIMEOUT", " "),
}
NO_MATTER = {  # they choose no package
    *("disable-pip-version-check", "no-python-version-warning", "root-user-action", "require-virtualenv", "no-input"),
    *("quiet", "verbose", "no-color", "progress-bar", "log", "retries", "cache-dir", "no-cache-dir", "compile"),
}


class NoUv(Exception):
    """Why uv can't do it here."""


def main(what: str) -> int:
    """Install; what pip returned, if it came to that."""
    try:
        install_with_uv(what)
    except NoUv as why:
        print(f"{why}. So pip installs, which takes about two minutes.", flush=True)
        return subprocess.run(pip("install", "-qq", "-c", CONSTRAINTS, "-e", what), check=False).returncode
    return 0


def install_with_uv(what: str) -> None:
    """Raises `NoUv` if there is none, if it can't be handed what pip is told, or if it fails."""
    settings = pip_settings(output_of(pip("config", "list"), "pip's settings can't be read"))
    if unknown := settings.keys() - HANDED_OVER.keys() - NO_MATTER:
        raise NoUv(f"pip is told {', '.join(sorted(unknown))} here, and uv knows no such setting")
    install = ["pip", "install", "--quiet", "--python", sys.executable, "-e", what]
    output_of([usable_uv(), *install], "uv can't install", os.environ | variables(settings))


def pip_settings(listed: str) -> dict[str, str]:
    """What `pip install` is told by its files and variables, of the output of `pip config list`."""
    told = [(*name.rpartition("."), value) for name, _, value in (line.partition("=") for line in listed.splitlines())]
    return {
        option: ast.literal_eval(value)
        for section in ("global", "install", ":env:")  # the later wins
        for of_section, _, option, value in told
        if of_section == section
    }


def variables(settings: dict[str, str]) -> dict[str, str]:
    """The same for uv. All indexes are equal, as they are to pip."""
    settings = settings | {"constraint": f"{CONSTRAINTS} {settings.get('constraint', '')}"}
    handed = {name: between.join(settings[option].split()) for option, (name, between) in HANDED_OVER.items()
              if option in settings}  # fmt: skip
    return {"UV_INDEX_STRATEGY": "unsafe-best-match"} | handed


def usable_uv() -> str:
    """The `uv` on the PATH, or one that pip brings into this environment.

    Raises `NoUv` if pip brings none.
    """
    found = shutil.which("uv")
    if found and version_of(found) >= OLDEST:
        return found
    output_of(pip("install", "-qq", "-c", CONSTRAINTS, "uv"), "pip can't bring uv")
    return str(Path(sys.executable).parent / "uv")


def version_of(uv: str) -> tuple[int, ...]:
    said = re.search(r"(\d+)\.(\d+)", output_of([uv, "--version"], "uv can't tell its version"))
    return tuple(map(int, said.groups())) if said else ()


def pip(*words: str) -> list[str]:
    return [sys.executable, "-m", "pip", "--disable-pip-version-check", *words]


def output_of(command: list[str], complaint: str, environment: dict[str, str] | None = None) -> str:
    """What a command printed; raises `NoUv`, with the end of what it said, if it failed."""
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NoUv(f"{complaint} ({' '.join(done.stderr.split())[-300:].rstrip('.')})")
    return done.stdout


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1]))
