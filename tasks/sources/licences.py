"""What a model's folder says of its licence."""

import re
from pathlib import Path

from tasks.sources.catalogue import CATALOGUE
from tasks.utf8 import read_utf8

CARD, FILES = "README.md", ("LICENSE", "LICENSE.txt", "LICENSE.md", "LICENCE")
IN_CARD = re.compile(r"\A---\n.*?^license(?:_name)?:\s*([\w.+-]+)\s*$.*?^---", re.MULTILINE | re.DOTALL)
UNKNOWN = "not said"


def licence_of(folder: Path) -> str:
    """As the model's card has it, else the first words of its licence's text, else what is known of its short name."""
    card = folder / CARD
    if card.is_file() and (found := IN_CARD.search(read_utf8(card))):
        return found[1]
    for path in (folder / name for name in FILES):
        if path.is_file() and (lines := read_utf8(path).split()):
            return " ".join(lines[:4])
    known = CATALOGUE.get(folder.name)
    return known.licence if known else UNKNOWN
