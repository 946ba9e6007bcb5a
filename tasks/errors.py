"""What can go wrong for a reason that a person can mend, by who must act."""

import re
import sys
from collections.abc import Callable

OBEYED = re.compile(  # by a terminal: control characters, and those that change the direction of what follows
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


def written_out(text: str) -> str:
    """The text with what a terminal would obey, and what none could write, as escapes."""
    return OBEYED.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


class PerennialError(Exception):
    """One clear sentence for the person who must act; `exit_code` is what the command ends with."""

    exit_code = 1

    def __str__(self) -> str:
        return written_out(without_password(super().__str__()))


class BadInput(PerennialError):
    """The user's data, parameters or arguments are wrong: the sentence names file, line and mend."""

    exit_code = 2


class Corrupt(PerennialError):
    """A file that the pipeline wrote is not what it wrote."""

    exit_code = 3


class OutOfReach(PerennialError):
    """The disk is full, or a file may not be written: see `out_of_reach`."""

    exit_code = 74


class Busy(PerennialError):
    """Another run holds the lock."""

    exit_code = 75


MAKE_ROOM = "Make room on the disk"
PERMIT = "See to the owner and the permissions"
WRITABLE = "Make it writable, or work in a copy elsewhere"
MENDS = {  # by what the system says, or SQLite: libraries quote it in errors of their own
    "No space left on device": MAKE_ROOM,
    "Disk quota exceeded": MAKE_ROOM,
    "database or disk is full": MAKE_ROOM,
    "File too large": "Raise the limit of a file's size (`ulimit -f`)",
    "Read-only file system": WRITABLE,
    "attempt to write a readonly database": WRITABLE,
    "unable to open database file": PERMIT,
    "Permission denied": PERMIT,
    "Operation not permitted": PERMIT,
    "Input/output error": "See to the disk: it may be failing",
    "disk I/O error": "See to the disk: it may be full or failing",
}


def out_of_reach(error: BaseException) -> OutOfReach | None:
    """The sentence for an error of a disk that is full, read-only or not ours; None if it is another error.

    Args:
        error: of a library, too, that has an error of the disk for its cause or quotes it.
    """
    seen: BaseException | None = error
    while seen:
        for said, mend in MENDS.items():
            if said in str(seen):
                named = getattr(seen, "filename2", None) or getattr(seen, "filename", None)  # 2: where it is copied to
                where = written_out(str(named or "A file here or in a library's cache"))
                return OutOfReach(f"{where} can't be used ({said}). {mend}, and run again: what was finished is kept.")
        seen = seen.__cause__ or seen.__context__
    return None


def sentence_of(error: Exception) -> PerennialError | None:
    """What is told of an error instead of a traceback; None for a defect, of ours or of a library."""
    return error if isinstance(error, PerennialError) else out_of_reach(error)


def exit_code_of(work: Callable[[], object]) -> int:
    """Do it, and end the process with this: an error that can be told is one sentence on stderr, a defect rises."""
    try:
        work()
    except Exception as error:
        if not (told := sentence_of(error)):
            raise
        print(told, file=sys.stderr)
        return told.exit_code
    return 0


LONGEST = 300  # characters of a library's reason
LOG_IN = re.compile(r"(?<=://)[^/\s'\"<>]*@")  # user:password@


def without_password(text: str) -> str:
    """The text with no log-in in any address that it names: an address is shown and kept like that."""
    return LOG_IN.sub("", text)


def reason_of(error: BaseException) -> str:
    """Why a library failed, in one line without a full stop: a sentence that ends in a colon takes what it announces.

    Some libraries write the reason first and advice below, others an announcement ("The following failures occurred:")
    and the reason below it.
    """
    lines = [" ".join(line.split()) for line in without_password(str(error)).splitlines()]
    lines = [line for line in lines if line and not set(line) <= set("#=-*~ ")]
    if not lines:
        return type(error).__name__
    reason = line = lines.pop(0)
    while lines and (line.endswith(":") or line.endswith("##")):  # what announces, and the heading of what it announces
        line = lines.pop(0)
        reason = f"{reason} {line.strip('# ')}"
    if len(reason) > LONGEST:  # the end says why, the beginning where
        reason = f"{reason[: LONGEST // 2]} ... {reason[-LONGEST // 2 :]}"
    return written_out(reason.rstrip(".:"))
