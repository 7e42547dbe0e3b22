"""One speaker a node: who owns which address, and the frames that say so.

The cores (everything outside `fast`, `slow` and `cli`) touch nothing outside. `fast` is the process that answers,
`slow` the one that reads what the cluster wants.
"""
