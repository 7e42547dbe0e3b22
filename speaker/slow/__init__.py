"""The slow process of a speaker: reads what the cluster wants, writes logs and reports. A child of the fast one."""
