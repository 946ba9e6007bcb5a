"""What editors and desktops leave in a folder that they show: never data, never code, never a result."""

import re

LITTER = re.compile(
    r"\..*|.*~|#.*#|~\$.*|.*\.(swp|bak|orig|tmp)"  # hidden, or an editor's: a copy, a lock, a backup
    r"|(?i:desktop\.ini|(eh)?thumbs(_vista)?\.db|\$recycle\.bin)|Icon\r|__MACOSX|.*:Zone\.Identifier"
)


def is_litter(name: str) -> bool:
    """Whether a file or folder of this name is nobody's: `.dvcignore` lists the same."""
    return LITTER.fullmatch(name) is not None
