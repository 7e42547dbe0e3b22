"""What can go wrong with a lab."""


class LabError(Exception):
    """The lab could not do what it was told; the text says what and why."""


class LabUnavailable(LabError):
    """This machine or this user cannot have a lab at all; the text says why, and the cure."""
