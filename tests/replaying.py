"""params.yaml for a backbone that learns every slice, as its comments advise."""

CHANGES = {
    "\n  rows: none ": "\n  rows: all  ",
    "\nmethods: []\n": "\nmethods:\n  - {name: replay, share: 0.75}\n",
    "\n  how: solved ": "\n  how: refit  ",
}


def replaying(text: str) -> str:
    """The text of params.yaml with replay instead of the solved memory."""
    for old, new in CHANGES.items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text
