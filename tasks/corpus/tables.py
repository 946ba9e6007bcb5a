"""Tables of other people's form become a file of a slice: CSV, TSV, JSON lines, Parquet, or what `datasets` has saved.

Which file is told by the columns: those of facts.csv make facts, `text` makes texts (docs/formats.md, "Tables"). A
table with a `subject` and neither relation nor object is a wide one: each of its other columns is a relation. A column
may be made of others, "{text} The relationship between {head} and {tail} is", and of a table's rows only some be taken.
"""

import csv
import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from string import Formatter
from typing import TYPE_CHECKING, Any

from tasks.corpus.erasure import FIELDS
from tasks.corpus.text import HALF
from tasks.errors import BadInput, reason_of
from tasks.utf8 import read_utf8

if TYPE_CHECKING:
    import pandas as pd

SUBJECT, RELATION, OBJECT = FIELDS["facts.csv"]
SPLIT, DATE = "split", "date"
TRAIN, TEST = "train", "test"
SHOWN = 12  # values of a column, where none is the one asked for
DATASET = ("dataset_info.json", "dataset_dict.json")  # one of them lies in what datasets' save_to_disk wrote
ORDER = ("facts.csv", "memories.txt", "examples.jsonl", "chat.jsonl", "texts.jsonl")


def is_table(path: Path) -> bool:
    """Whether this reads it: a file with such a name, or a folder of `datasets`."""
    return path.suffix.lower() in READERS if path.is_file() else any((path / name).is_file() for name in DATASET)


@dataclass(frozen=True)
class Columns:
    """What is taken of a table, and as what.

    named: by the name that a slice's file has for it, the table's column, or a text with columns in braces.
    where: by a column, the value that the rows taken have there.
    """

    named: Mapping[str, str] = field(default_factory=dict)
    where: Mapping[str, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.named or self.where)


def write_table(path: Path, taking: Columns, default_date: str, folder: Path) -> None:
    """Write the file of a slice that a table makes.

    Args:
        path: the table.
        taking: which rows and columns.
        default_date: of texts that have none.
        folder: where the file goes.

    Raises:
        BadInput: it can't be read, lacks a column or such rows, or its columns make none of a slice's files.
    """
    table = _chosen(path, _read(path), taking.where)
    made: dict[str, list[Any]] = {}
    sources, aside = set(), set(taking.where)
    for field_name, wanted in taking.named.items():
        if parts := _parts(wanted, table):
            made[field_name] = _composed(path, table, parts)
            aside |= {column for _, column in parts if column is not None}
        elif wanted in table.columns:
            made[field_name] = list(table[wanted])
            sources.add(wanted)
        else:
            raise _no_column(path, wanted, table)
    table = table.drop(columns=sources - made.keys()).assign(**made)
    if not len(table):
        raise BadInput(f"{path} has no rows.")
    if SUBJECT in table.columns and not {RELATION, OBJECT} & set(table.columns):
        table = _long(path, table.drop(columns=(aside - made.keys()) & set(table.columns)))
    name = next((file for file in ORDER if set(FIELDS[file]) <= set(table.columns)), None)
    if name is None:
        needs = "; ".join(f"{', '.join(FIELDS[file])} ({file})" for file in ORDER)
        raise BadInput(
            f"{path}: its columns ({', '.join(map(str, table.columns))}) make no file of a slice. Name them by "
            f"`--column NAME=COLUMN`; a file needs {needs}."
        )
    table = table[[column for column in table.columns if column in (*FIELDS[name], SPLIT, DATE)]]
    rows = [
        {str(key): _cell(path, number, str(key), value) for key, value in row.items()}
        for number, row in enumerate(table.to_dict("records"), start=1)
    ]
    (folder / name).write_text(WRITERS[name](rows, default_date), encoding="utf-8")


def _read(path: Path) -> "pd.DataFrame":
    try:
        return READERS[path.suffix.lower()](path) if path.is_file() else _dataset(path)
    except BadInput:
        raise
    except Exception as error:  # pandas, pyarrow and datasets raise what they like
        raise BadInput(f"{path} can't be read as a table ({reason_of(error).rstrip('.')}).") from error


def _no_column(path: Path, name: str, table: "pd.DataFrame") -> BadInput:
    return BadInput(f"{path} has no column '{name}'. Its columns are: {', '.join(map(str, table.columns))}.")


def _chosen(path: Path, table: "pd.DataFrame", where: Mapping[str, str]) -> "pd.DataFrame":
    """The rows that have these values."""
    for column, value in where.items():
        if column not in table.columns:
            raise _no_column(path, column, table)
        cells = [_cell(path, number, column, cell) for number, cell in enumerate(table[column], start=1)]
        found = table[[cell == value for cell in cells]]
        if not len(found):
            some = ", ".join(sorted(set(cells))[:SHOWN])
            raise BadInput(f"{path} has no row with {column} '{value}'. There are: {some}.")
        table = found
    return table


def _parts(wanted: str, table: "pd.DataFrame") -> list[tuple[str, str | None]]:
    """The text before each column in braces, and that column's name, None at the end; nothing if there are no braces.

    Raises:
        BadInput: the braces don't close, or hold more than a column's name.
    """
    if wanted in table.columns or not {"{", "}"} & set(wanted):
        return []
    try:
        parsed = list(Formatter().parse(wanted))
    except ValueError as error:
        raise BadInput(f"--column {wanted}: {reason_of(error)}. A brace that is meant is written twice.") from error
    if any(name is not None and (not name or form or kind) for _, name, form, kind in parsed):
        raise BadInput(f"--column {wanted}: in braces a column's name is expected, and nothing else.")
    return [(text, name) for text, name, _, _ in parsed]


def _composed(path: Path, table: "pd.DataFrame", parts: list[tuple[str, str | None]]) -> list[str]:
    """Of each row the text with its cells in it, without blanks around it."""
    if lacking := [name for _, name in parts if name is not None and name not in table.columns]:
        raise _no_column(path, lacking[0], table)
    texts = []
    for number, row in enumerate(table.to_dict("records"), start=1):
        cells = [before + ("" if name is None else _cell(path, number, name, row[name])) for before, name in parts]
        texts.append("".join(cells).strip())
    return texts


def _separated(path: Path) -> "pd.DataFrame":
    import pandas as pd

    text = read_utf8(path)
    header = text.split("\n", 1)[0]
    comma = max(("\t", ";", ","), key=header.count)
    return pd.read_csv(io.StringIO(text), sep=comma, dtype=str, keep_default_na=False, skipinitialspace=True)


def _json_lines(path: Path) -> "pd.DataFrame":
    import pandas as pd

    rows = []
    for number, line in enumerate(read_utf8(path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            rows.append(json.loads(line))
        except ValueError as error:
            raise BadInput(f"{path}, line {number}: no JSON ({error}).") from error
        if not isinstance(rows[-1], dict):
            raise BadInput(f"{path}, line {number}: an object with keys and values is expected.")
    return pd.DataFrame(rows, dtype=object)


def _parquet(path: Path) -> "pd.DataFrame":
    import pandas as pd

    return pd.read_parquet(path)


def _dataset(path: Path) -> "pd.DataFrame":
    """All splits, one below the other: what is not `train` is to test with."""
    import pandas as pd
    from datasets import Dataset, load_from_disk

    loaded = load_from_disk(str(path))
    if isinstance(loaded, Dataset):
        return loaded.to_pandas()
    parts = [
        each.to_pandas().assign(**{SPLIT: TRAIN if name == TRAIN else TEST}) for name, each in sorted(loaded.items())
    ]
    return pd.concat(parts, ignore_index=True)


def _long(path: Path, table: "pd.DataFrame") -> "pd.DataFrame":
    """A row for each filled cell beside the subject, its column as the relation."""
    if table.shape[1] == 1:
        raise BadInput(f"{path}: beside the subject a column for each relation is expected.")
    made = table.melt(id_vars=[SUBJECT], var_name=RELATION, value_name=OBJECT)
    made[RELATION] = [str(name).replace("_", " ").strip() for name in made[RELATION]]
    return made[[not _missing(value) for value in made[OBJECT]]]


def _missing(value: Any) -> bool:
    import pandas as pd

    return not value.strip() if isinstance(value, str) else bool(pd.api.types.is_scalar(value) and pd.isna(value))


def _cell(path: Path, row: int, column: str, value: Any) -> str:
    """A cell as text: whole numbers without a point, midnights without a time."""
    if _missing(value):
        return ""
    if isinstance(value, str):
        if HALF.search(value):  # JSON can name it, and no file can hold it
            raise BadInput(f"{path}, row {row}: the column '{column}' has half a character. Take it out.")
        return value
    if isinstance(value, datetime):
        return value.date().isoformat() if value.time() == time() else value.isoformat(sep=" ")
    if isinstance(value, bool | int | date | Decimal):
        return str(value)
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else repr(value)
    raise BadInput(f"{path}, row {row}: the column '{column}' holds more than a text or a number ({str(value)[:60]}).")


def _facts(rows: list[dict[str, str]], _: str) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(FIELDS["facts.csv"])
    writer.writerows([" ".join(row[name].split()) for name in FIELDS["facts.csv"]] for row in rows)
    return out.getvalue()


def _memories(rows: list[dict[str, str]], _: str) -> str:
    texts = ({name: " ".join(text.split()) for name, text in row.items()} for row in rows)
    return "".join(f"[{row['key']}: {row['value']}] {row['message']}\n" for row in texts)


def _lines(*fields: str) -> Callable[[list[dict[str, str]], str], str]:
    def write(rows: list[dict[str, str]], default_date: str) -> str:
        defaults = {SPLIT: TRAIN, DATE: default_date}
        chosen = ({name: row.get(name) or defaults.get(name, "") for name in fields} for row in rows)
        return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in chosen)

    return write


READERS = {
    ".csv": _separated, ".tsv": _separated, ".jsonl": _json_lines, ".ndjson": _json_lines, ".parquet": _parquet,
}  # fmt: skip
WRITERS = {
    "facts.csv": _facts, "memories.txt": _memories, "chat.jsonl": _lines("input", "output"),
    "examples.jsonl": _lines("input", "target", SPLIT), "texts.jsonl": _lines("text", DATE),
}  # fmt: skip
