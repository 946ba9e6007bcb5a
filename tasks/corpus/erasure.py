"""What must not be known any more: rows that slices brought, by their hashes.

`perennial erase` writes the hashes into erased.txt of the newest slice. From that slice on nothing is made of these
rows, and what they had overridden is true again. The hashes hold no row, but who guesses one can compare.
"""

import hashlib
import json
from typing import Any

from tasks.corpus.text import folded

FIELDS = {  # of each file of a slice: what makes a row the one that it is
    "facts.csv": ("subject", "relation", "object"),
    "memories.txt": ("key", "value", "message"),
    "chat.jsonl": ("input", "output"),
    "examples.jsonl": ("input", "target"),
    "texts.jsonl": ("text",),
}
Row = dict[str, Any]


def digest(file: str, row: Row) -> str:
    """SHA-256 of a row of one of a slice's files."""
    texts = [folded(row[name]) if name == "key" else row[name] for name in FIELDS[file]]
    return hashlib.sha256(json.dumps([file, *texts]).encode()).hexdigest()


def digest_of_plain(row: Row) -> str:
    """SHA-256 of the row that a training or test row about no fact was made from: its id says of which file."""
    kind = row["id"].split("/")[1]
    file = next(name for name in FIELDS if name.startswith(f"{kind}."))
    texts = (row["prompt"], row["target"]) if row["prompt"] else (row["target"],)
    return digest(file, dict(zip(FIELDS[file], texts, strict=True)))
