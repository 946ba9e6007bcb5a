"""What a model's folder says of its licence."""

import re
from contextlib import suppress
from pathlib import Path

from tasks.errors import BadInput
from tasks.sources.catalogue import CATALOGUE
from tasks.utf8 import read_utf8

CARD, FILES = "README.md", ("LICENSE", "LICENSE.txt", "LICENSE.md", "LICENCE")
FRONT = re.compile(r"\A---\n(.*?)^---\s*$", re.MULTILINE | re.DOTALL)
NAMED = re.compile(r"""^(license_name|license):\s*["']?([\w.+-]+)["']?\s*$""", re.MULTILINE)
UNKNOWN = "not said"


def licence_of(folder: Path) -> str:
    """As the model's card has it, else the first words of its licence's text, else what is known of its short name."""
    with suppress(BadInput):  # no UTF-8
        card = folder / CARD
        if card.is_file() and (front := FRONT.search(read_utf8(card))):
            named = dict(NAMED.findall(front[1]))
            if found := named.get("license_name") or named.get("license"):
                return found
        for path in (folder / name for name in FILES):
            if path.is_file() and (words := read_utf8(path).split()):
                return " ".join(words[:4])
    known = CATALOGUE.get(folder.name)
    return known.licence if known else UNKNOWN
