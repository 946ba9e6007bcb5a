"""What can go wrong for a reason that a person can mend, by who must act."""

import re

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
        return written_out(super().__str__())


class BadInput(PerennialError):
    """The user's data, parameters or arguments are wrong: the sentence names file, line and mend."""

    exit_code = 2


class Corrupt(PerennialError):
    """A file that the pipeline wrote is not what it wrote."""

    exit_code = 3


class Busy(PerennialError):
    """Another run holds the lock."""

    exit_code = 75


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
