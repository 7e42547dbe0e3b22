"""Statuses of services as text that a person can read, and what such a text says."""
