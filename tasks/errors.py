"""What can go wrong for a reason that a person can mend, by who must act."""


class PerennialError(Exception):
    """One clear sentence for the person who must act; `exit_code` is what the command ends with."""

    exit_code = 1


class BadInput(PerennialError):
    """The user's data, parameters or arguments are wrong: the sentence names file, line and mend."""

    exit_code = 2


class Corrupt(PerennialError):
    """A file that the pipeline wrote is not what it wrote."""

    exit_code = 3


class Busy(PerennialError):
    """Another run holds the lock."""

    exit_code = 75
