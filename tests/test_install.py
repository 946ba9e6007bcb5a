"""`make` installs with uv what pip would have installed, and with pip where uv can't."""

import subprocess
import sys

import pytest

import install

LISTED = """\
:env:.cert='/bundle.pem'
:env:.disable-pip-version-check='1'
freeze.user='true'
global.constraint='/cap.txt'
global.extra-index-url='file:///one\\nfile:///two'
global.find-links='/overridden'
global.index-url='https://user:p=w@index.test/simple'
install.find-links='/wheels /more'
"""


def program(folder, says, code=0):
    """A `uv` that notes what it was told, says something on its way out, and ends with a code."""
    path = folder / "uv"
    path.write_text(
        f"#!{sys.executable}\nimport os, sys\n"
        "if sys.argv[1:] == ['--version']: sys.exit(print('uv 1.2.3 (abc)'))\n"
        "told = [*sys.argv[1:], *(f'{name}={value}' for name, value in sorted(os.environ.items()))]\n"
        f"open({str(folder / 'told')!r}, 'w').write(chr(10).join(told))\n"
        f"print({says!r}, file=sys.stderr)\nsys.exit({code})\n"
    )
    path.chmod(0o755)
    return path


@pytest.fixture
def ran(monkeypatch):
    """The commands that would have run pip, which `pip config list` is not."""
    commands = []
    real = subprocess.run

    def run(command, **how):
        if command[1:3] != ["-m", "pip"]:
            return real(command, **how)
        if command[-2:] == ["config", "list"]:
            return subprocess.CompletedProcess(command, 0, LISTED, "")
        commands.append(command)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", run)
    return commands


def test_of_pips_settings_those_that_hold_for_an_install_are_read_and_the_nearest_wins():
    settings = install.pip_settings(LISTED)
    assert settings["find-links"] == "/wheels /more"
    assert settings["index-url"] == "https://user:p=w@index.test/simple"
    assert (settings["cert"], "user" in settings) == ("/bundle.pem", False)


def test_uv_is_handed_what_pip_is_told_and_the_versions(tmp_path, monkeypatch, ran, capsys):
    monkeypatch.setenv("PATH", str(program(tmp_path, "").parent))
    assert install.main(".[test]") == 0
    told = (tmp_path / "told").read_text().splitlines()
    assert told[:2] == ["pip", "install"]
    assert told[told.index("--python") + 1] == sys.executable
    assert told[told.index("-e") + 1] == ".[test]"
    assert {
        "UV_CONSTRAINT=constraints.txt /cap.txt",
        "UV_DEFAULT_INDEX=https://user:p=w@index.test/simple",
        "UV_FIND_LINKS=/wheels,/more",
        "UV_INDEX=file:///one file:///two",
        "UV_INDEX_STRATEGY=unsafe-best-match",
        "SSL_CERT_FILE=/bundle.pem",
    } <= set(told)
    assert not [word for word in told[: told.index("-e") + 2] if "p=w" in word]  # other users see a command's words
    assert (ran, capsys.readouterr().out) == ([], "")


def test_without_a_setting_of_pips_the_versions_are_told_all_the_same():
    assert install.variables({})["UV_CONSTRAINT"].split() == [install.CONSTRAINTS]


def test_if_uv_fails_pip_installs_and_one_line_says_why(tmp_path, monkeypatch, ran, capsys):
    monkeypatch.setenv("PATH", str(program(tmp_path, "error: no such\n  index", 2).parent))
    assert install.main(".") == 0
    assert [command[-3:] for command in ran] == [["constraints.txt", "-e", "."]]
    said = capsys.readouterr().out
    assert said.startswith("uv can't install (error: no such index). So pip installs") and said.count("\n") == 1


def test_what_uv_has_no_word_for_is_named_and_left_to_pip(tmp_path, monkeypatch, ran, capsys):
    monkeypatch.setenv("PATH", str(program(tmp_path, "").parent))
    monkeypatch.setattr(install, "NO_MATTER", install.NO_MATTER - {"disable-pip-version-check"})
    assert install.main(".") == 0
    assert not (tmp_path / "told").exists()
    assert len(ran) == 1
    assert "pip is told disable-pip-version-check here" in capsys.readouterr().out


@pytest.mark.parametrize("version", [None, "0.4.30"])
def test_where_no_uv_is_new_enough_pip_brings_the_one_of_the_constraints(tmp_path, monkeypatch, ran, version):
    path = program(tmp_path, "")
    path.write_text(path.read_text().replace("1.2.3", version)) if version else path.unlink()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert install.usable_uv() == str(install.Path(sys.executable).parent / "uv")
    assert ran[0][-3:] == ["-c", "constraints.txt", "uv"]
