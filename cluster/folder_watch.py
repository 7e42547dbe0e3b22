"""Tells when it is time to look through a folder again."""
