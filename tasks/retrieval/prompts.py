"""What an encoder wants before every text: the same in training, for pairs, in calibration and in use."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

QUERY, DOCUMENT = "query", "document"  # a message; a memory, or a passage of a document
NAMES = {QUERY: ("query",), DOCUMENT: ("document", "passage", "corpus")}  # as sentence-transformers looks for them


def prompt_of(encoder: "SentenceTransformer", task: str) -> str:
    """What stands before every text of a task, "query" or "document"; "" if nothing does.

    An encoder that has a prompt for either of them has said what it wants. Of another one it is the default prompt.
    """
    named = {each: next(filter(None, map(encoder.prompts.get, names)), "") for each, names in NAMES.items()}
    if any(named.values()):
        return named[task]
    return encoder.prompts.get(encoder.default_prompt_name or "") or ""
