"""What the cluster wants: frozen types (`cluster.model`), and the readers that make them from manifests.

Nothing is imported here, so that a process which needs only the types loads neither a YAML parser nor a validator.
"""
