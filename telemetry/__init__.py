"""What running processes say about themselves."""
