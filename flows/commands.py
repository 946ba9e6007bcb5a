"""The command line: `perennial init | run | presets | plan | status | add | remove | erase | chat | learn | memory |
compare | promote | methods | ages | select | speed | fetch-model | report | push | pull`."""

import sys
import traceback
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from flows.memory import memory
from flows.project import Verbose, complaints, console, enter, hush
from flows.signals import heed
from tasks.corpus.text import typed
from tasks.errors import BadInput, PerennialError, out_of_reach, without_password, written_out

INTERRUPTED = 130
LAST_ERROR = Path(".perennial/last_error.txt")
LOWEST_PORT, HIGHEST_PORT = 1024, 65_535  # below are the system's own

app = typer.Typer(
    help="Keeps a language model current, slice by slice, without letting it forget.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(memory, name="memory")


def main() -> None:
    """Run the command line; a mistake becomes one sentence and an exit code."""
    verbose = "--verbose" in sys.argv
    heed()
    try:
        app()
    except PerennialError as error:
        if verbose:
            raise
        complaints.print(f"[red]{escape(str(error))}[/red]", highlight=False, soft_wrap=True)
        raise SystemExit(error.exit_code) from error
    except Exception as error:
        if verbose:
            raise
        known = out_of_reach(error)
        complaints.print(f"[red]{escape(str(known or _defect(error)))}[/red]", highlight=False, soft_wrap=True)
        raise SystemExit(known.exit_code if known else 1) from error
    except SystemExit as end:
        if end.code == INTERRUPTED:  # typer's answer to Ctrl-C
            complaints.print("Stopped. Run the same command again to continue.")
        raise


@app.command()
def run(
    verbose: Verbose = False,
    isolated: Annotated[bool, typer.Option("--isolated", help="Run each step in a process of its own.")] = False,
    sync: Annotated[
        bool | None,
        typer.Option(
            "--sync/--no-sync", help="Fetch from the DVC remote before training, push to it after. [params.yaml: sync]"
        ),
    ] = None,
    preset: Annotated[
        list[str] | None,
        typer.Option(parser=typed, metavar="NAME", help="First lay a preset over params.yaml; may be repeated."),
    ] = None,
) -> None:
    """Bring every stale part of the timeline up to date, publish the models, print the table."""
    root = enter(verbose)
    if preset:
        from flows.presets import take_presets

        take_presets(root, preset, console)
    from flows.run import run_timeline

    run_timeline(root, console, isolated, verbose, sync)


@app.command()
def presets(verbose: Verbose = False) -> None:
    """List the presets of `perennial run --preset`: the models, their licences, what they need."""
    from flows.presets import print_presets

    print_presets(enter(verbose), console)


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="A new or empty folder, or a project after an update of Perennial.")],
    preset: Annotated[
        list[str] | None, typer.Option(parser=typed, metavar="NAME", help="With its settings; may be repeated.")
    ] = None,
    verbose: Verbose = False,
) -> None:
    """Make a project of your own, which uses the installed package; in one that is there, take up an update of it."""
    hush(verbose)
    from flows.init import init_project

    console.print(escape(init_project(folder, preset or [], console)), highlight=False, soft_wrap=True)


@app.command()
def plan(verbose: Verbose = False) -> None:
    """Say what a run would take: parameters, memory, disk, time; and what to change where that is too much."""
    from flows.plan import print_plan

    print_plan(enter(verbose), console)


@app.command()
def status(verbose: Verbose = False) -> None:
    """Show per slice and step what is fresh, stale or missing; the champion; the last run."""
    from flows.status import print_status

    print_status(enter(verbose), console)


@app.command()
def add(
    name: Annotated[str, typer.Argument(metavar="SLICE", help="The new slice's name: 2025")],
    folder: Annotated[
        Path,
        typer.Argument(help="A folder with facts.csv, chat.jsonl, ..., or with pages; or a table: CSV, Parquet, ..."),
    ],
    column: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=COLUMN", help="Of a table: subject=person, 'input={ask} {me}'; may be repeated."),
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMN=VALUE", help="Of a table, take only rows with this value; may be repeated."),
    ] = None,
    verbose: Verbose = False,
) -> None:
    """Check a folder of new data, or a table, and append it to the timeline as the next slice."""
    from flows.add import add_slice
    from tasks.corpus.tables import Columns

    taking = Columns(
        _pairs(column, "column", "NAME=COLUMN", "subject=person"), _pairs(where, "where", "COLUMN=VALUE", "split=train")
    )
    folder = folder.resolve()
    console.print(escape(add_slice(enter(verbose), name, folder, taking)), highlight=False, soft_wrap=True)


def _pairs(given: list[str] | None, option: str, form: str, example: str) -> dict[str, str]:
    pairs = [each.partition("=") for each in given or ()]
    if wrong := [each for each in pairs if not all(each)]:
        told = "".join(wrong[0])
        raise BadInput(f"--{option} {told}: write {form}, as in --{option} {example}.")
    names = [name for name, _, _ in pairs]
    if twice := [name for name in names if names.count(name) > 1]:
        raise BadInput(f"--{option} {twice[0]} is given twice, and can hold but one of them.")
    return {name: value for name, _, value in pairs}


@app.command()
def remove(
    name: Annotated[str, typer.Argument(parser=typed, metavar="SLICE", help="The newest slice.")],
    with_later: Annotated[bool, typer.Option("--with-later", help="And all slices that were trained from it.")] = False,
    verbose: Verbose = False,
) -> None:
    """Take the newest slice out of the timeline again; its data is moved aside."""
    from flows.remove import remove_slices

    console.print(escape(remove_slices(enter(verbose), name, with_later)), highlight=False, soft_wrap=True)


@app.command()
def erase(
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="FILE...", help="facts.csv, chat.jsonl, ... with the rows, or a whole slice."),
    ],
    verbose: Verbose = False,
) -> None:
    """Take rows that were given out of the model again, exactly; a receipt tells what still has them."""
    paths = [path.resolve() for path in paths]
    root = enter(verbose)
    from flows.erase import erase_rows

    erase_rows(root, paths, console)


@app.command()
def chat(
    model: Annotated[
        str | None, typer.Option(parser=typed, metavar="SLICE", help="Another slice's model than the champion.")
    ] = None,
    user: Annotated[str, typer.Option(parser=typed, metavar="NAME", help="Whose memories are used.")] = "me",
    web: Annotated[bool, typer.Option("--web", help="On a page in the browser, for this machine alone.")] = False,
    port: Annotated[int, typer.Option(min=LOWEST_PORT, max=HIGHEST_PORT, help="Of that page.")] = 8765,
    verbose: Verbose = False,
) -> None:
    """Talk with the champion, with its memory; /memory, /reset, /exit. With --web on a page that shows it all."""
    root = enter(verbose)
    if web:
        from flows.serve import serve_chat

        serve_chat(root, model, user, port, console)
        return
    from flows.chat import chat_with

    chat_with(root, model, user, console)


@app.command()
def learn(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="Pages, or folders of them: notes.md, manual.pdf, ...")
    ],
    user: Annotated[str, typer.Option(parser=typed, metavar="NAME", help="Whose chat looks things up in them.")] = "me",
    verbose: Verbose = False,
) -> None:
    """Read documents for the chat to look things up in; one that has changed is replaced."""
    files = [path.absolute() for path in files]
    root = enter(verbose)
    from flows.learn import learn_files

    console.print(escape(learn_files(root, files, user)), highlight=False, soft_wrap=True)


@app.command()
def compare(first: str, second: str, verbose: Verbose = False) -> None:
    """Show two slices' models side by side: every metric, the difference, sample answers."""
    root = enter(verbose)
    from tasks.params import PARAMS, load_params
    from tasks.registry.compare import print_comparison
    from tasks.registry.store import names_of

    print_comparison(console, names_of(load_params(root / PARAMS).registry), first, second)


@app.command()
def promote(
    version: Annotated[str, typer.Argument(parser=typed, metavar="VERSION", help="A number, a slice or an alias.")],
    because: Annotated[str, typer.Option(parser=typed, metavar="REASON", help="Why; it is kept beside the version.")],
    verbose: Verbose = False,
) -> None:
    """Make a version champion, whatever the gate said: one that waits for a person, or an older one again."""
    from flows.promote import promote_version

    console.print(escape(promote_version(enter(verbose), version, because)), highlight=False, soft_wrap=True)


@app.command()
def rollback(
    version: Annotated[
        str | None, typer.Argument(parser=typed, metavar="VERSION", help="Default: the champion before this one.")
    ] = None,
    because: Annotated[str, typer.Option(parser=typed, metavar="REASON", help="Why; it is kept.")] = "",
    verbose: Verbose = False,
) -> None:
    """Make the champion before this one champion again; it stays until a later version is better."""
    from flows.promote import roll_back

    console.print(escape(roll_back(enter(verbose), version, because)), highlight=False, soft_wrap=True)


@app.command()
def history(verbose: Verbose = False) -> None:
    """Show who was champion, from when to when, by whom and why."""
    from flows.promote import print_history

    print_history(enter(verbose), console)


@app.command()
def methods(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="Entries of params.yaml's comparison; default: all.")
    ] = None,
    seed: Annotated[list[int] | None, typer.Option(help="Instead of params.yaml's seeds; may be repeated.")] = None,
    verbose: Verbose = False,
) -> None:
    """Take the timeline through each method, for every seed, and compare what they keep and cost."""
    from flows.methods import compare_methods

    compare_methods(enter(verbose), console, names or [], seed or [], verbose)


def _as_path(model: str) -> str:
    """A model's path from where the command was called, or its name."""
    path = Path(model).expanduser()
    return str(path.absolute()) if path.exists() else model


@app.command()
def ages(verbose: Verbose = False) -> None:
    """Measure every slice's model on every slice's texts: how fast its language ages."""
    from flows.ages import measure_ages

    measure_ages(enter(verbose), console)


@app.command()
def select(
    models: Annotated[
        list[str],
        typer.Argument(metavar="MODEL...", help="Folders, .gguf files, names on the hub, or short names."),
    ],
    steps: Annotated[int, typer.Option(min=1, max=10_000, help="Of the fine-tune.")] = 60,
    questions: Annotated[int, typer.Option(min=3, max=10_000, help="That each is asked.")] = 60,
    verbose: Verbose = False,
) -> None:
    """Try models by the same short fine-tune and questions, and recommend one to start from."""
    models = [_as_path(model) for model in models]
    root = enter(verbose)
    from flows.select import select_models

    select_models(root, console, models, steps, questions)


@app.command()
def speed(
    model: Annotated[
        str | None,
        typer.Argument(help="A folder, .gguf file, name on the hub, or short name; else that of params.yaml."),
    ] = None,
    steps: Annotated[int, typer.Option(min=2, max=10_000, help="Of each fine-tune.")] = 8,
    rounds: Annotated[int, typer.Option(min=1, max=100, help="So often each way is taken, in turn.")] = 2,
    verbose: Verbose = False,
) -> None:
    """Measure ways to train faster, or in less memory, beside the plain one, by the same short fine-tune."""
    model = _as_path(model) if model else None
    root = enter(verbose)
    from flows.speed import measure_speed

    measure_speed(root, console, model, steps, rounds)


@app.command("fetch-model")
def fetch_model(
    source: Annotated[
        str,
        typer.Argument(
            parser=typed,
            metavar="MODEL",
            help="A short name (smollm2-135m), a name on the hub, a .gguf file, or a folder with .bin files.",
        ),
    ],
    folder: Annotated[Path | None, typer.Argument(help="Where to; a place in ~/.cache if it is not told.")] = None,
    verbose: Verbose = False,
) -> None:
    """Bring a pretrained model into a plain folder, for `pretrain.model` or `encoder.model` in params.yaml."""
    hush(verbose)
    from tasks.sources.fetching import fetch

    made, origin = fetch(source, folder)
    console.print(escape(f"{made}: {origin}."), highlight=False, soft_wrap=True)


@app.command()
def report(verbose: Verbose = False) -> None:
    """Write reports/index.html, and name it."""
    root = enter(verbose)
    from flows.run import bring_report_up_to_date

    console.print(escape(str(bring_report_up_to_date(root, console))), highlight=False, soft_wrap=True)


@app.command()
def push(verbose: Verbose = False) -> None:
    """Send what was built, and which inputs gave it, to the DVC remote."""
    from flows.exchange import push_timeline

    console.print(escape(push_timeline(enter(verbose))), highlight=False, soft_wrap=True)


@app.command()
def pull(verbose: Verbose = False) -> None:
    """Fetch from the DVC remote what the data and settings here give, and train nothing."""
    from flows.exchange import pull_timeline

    console.print(escape(pull_timeline(enter(verbose), console)), highlight=False, soft_wrap=True)


def _defect(error: Exception) -> str:
    """Of ours or of a library: the sentence, and where its traceback is kept."""
    reason = f"{type(error).__name__}: {written_out(without_password(str(error)))}"
    try:
        LAST_ERROR.parent.mkdir(exist_ok=True)
        LAST_ERROR.write_text(without_password(traceback.format_exc()), encoding="utf-8")
    except OSError:
        return f"{reason} (--verbose shows the traceback.)"
    return f"{reason} ({LAST_ERROR} has the traceback.)"


if __name__ == "__main__":
    main()
