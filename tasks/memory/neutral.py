"""What users, documents and memories say is data: none of it can pass for a memory, a role or the template.

The words stay, and what would make structure of them goes: square brackets become round ones, a marker loses what
encloses it, a role its colon. An ordinary text is left as it is.
"""

import re
import unicodedata
from functools import lru_cache

from tasks.corpus.text import normal

ROLES = "system|assistant|user|human|bot|ai|시스템|어시스턴트|도우미|비서|사용자|유저|질문|답변"
ROLE = re.compile(rf"^([\W_]*(?:{ROLES}))[\W_]*:", re.IGNORECASE)
# The template's markers however they are spaced, halves of them at the ends of a text, where another text's half may
# follow; a chat template's heading; special tokens of most tokenizers.
MARKERS = (
    r"(?:\(|^)\s*답변\s*(?:종료|시작)?\s*\)",
    r"\(\s*답변\s*(?:종료|시작)?\s*$",
    r"(?<!#)#+\s*답변\s*(?::|$)",
    r"<\|[^<>|]{0,40}\|>",
)
ENDS = re.compile(r"^[\W_]+|[\W_]+$")
STRUCTURE = frozenset("()<>|#:")
SQUARE = re.compile("SQUARE BRACKET|LENTICULAR|TORTOISE SHELL")
ROUND = {"Ps": "(", "Pe": ")"}
APART = frozenset(("Ps", "Pe", "Pi", "Pf", "Pd", "Pc", "Po", "Zs", "Cc", "Cf", "Mn"))

JOINERS = "\u200c\u200d"  # where they change what is seen; see tasks/corpus/text.py


def neutralised(text: str, markers: tuple[str, ...] = ()) -> str:
    """The text as one line of data.

    Args:
        text: of a user, a document, or one half of a memory.
        markers: what the model's tokenizer reads as structure, beside the usual.
    """
    clean = " ".join(filter(None, (_without_role(visible(line)) for line in text.splitlines())))
    pattern = _pattern(markers)
    while True:  # what is taken out can bring something else to a line's beginning, or together
        before, clean = clean, _without_role(visible(_unmarked(clean, pattern)))
        if clean == before:
            return clean


def neutral_memory(text: str, markers: tuple[str, ...] = ()) -> str:
    """A memory's text, `[key: value]`, with nothing in its key or value that could end it."""
    key, _, value = text.removeprefix("[").removesuffix("]").partition(":")
    return f"[{neutralised(key, markers).replace(':', ' ')}: {neutralised(value, markers)}]"


def visible(text: str) -> str:
    """One line without control, bidi and invisible characters: no text steers the terminal or hides a part of it."""
    kept = (" " if kind in ("Cc", "Cs") else each for each in normal(text) if (kind := _kind(each)) != "Cf")
    return " ".join(normal("".join(kept)).split())


def is_echo(memory: tuple[str, str], text: str) -> bool:
    """Whether a text has this very `key: value` in it, whatever its case, width, brackets and spaces."""
    return _folded(":".join(memory)) in _folded(text)


def same(memory: tuple[str, str], text: str) -> bool:
    """Whether a text is this very `[key: value]`, whatever its case, width, brackets and spaces."""
    return _folded(":".join(memory)) == _folded(text)


def _without_role(text: str) -> str:
    return ROLE.sub(r"\1 -", "".join(map(_ascii, text)))


def _unmarked(text: str, pattern: re.Pattern[str]) -> str:
    while (clean := pattern.sub(lambda found: ENDS.sub("", found[0]), text)) != text:
        text = clean  # taking one marker out can bring the next one together
    folded = unicodedata.normalize("NFKC", text)  # some tokenizers fold wide letters themselves
    return _unmarked(folded, pattern) if pattern.search(folded) else text


@lru_cache(maxsize=16)
def _pattern(markers: tuple[str, ...]) -> re.Pattern[str]:
    # a special token that is a plain word can't be told from the word
    given = (re.escape(marker) for marker in markers if ENDS.search(marker) and not marker.isspace())
    return re.compile("|".join((*MARKERS, *given)), re.IGNORECASE)


@lru_cache(maxsize=4096)
def _ascii(character: str) -> str:
    """A mark of structure in ASCII, a square bracket made round; other characters as they are."""
    kind = unicodedata.category(character)
    if kind in ROUND and SQUARE.search(unicodedata.name(character, "")):
        return ROUND[kind]
    plain = unicodedata.normalize("NFKC", character)
    return plain if plain in STRUCTURE else character


def _kind(character: str) -> str:
    return "" if character in JOINERS else unicodedata.category(character)


def _folded(text: str) -> str:
    """Letters, digits, symbols and colons alone, in one case and width."""
    plain = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", visible(text)).casefold())
    return "".join(each for each in plain if each == ":" or unicodedata.category(each) not in APART)
