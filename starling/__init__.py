"""The command `starling`: puts the commands of the other packages together, and nothing else."""

__version__ = "0.1.0"
"""The one place where the version is written; the wheel's metadata are read from here."""
