"""What editors and desktops leave in a folder that they show: never data, never code, never a result."""

import re

LITTER = re.compile(r"\..*|.*~|#.*#|Thumbs\.db|desktop\.ini|__MACOSX|.*\.(swp|bak|orig|tmp)")


def is_litter(name: str) -> bool:
    """Whether a file or folder of this name is nobody's: `.dvcignore` lists the same."""
    return LITTER.fullmatch(name) is not None
