"""The simulator: the shipped cores in virtual time."""
