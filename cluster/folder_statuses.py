"""The folder of the statuses: whole files or none, and one writer."""
