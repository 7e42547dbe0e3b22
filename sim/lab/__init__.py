"""The lab: real processes on real interfaces, in network namespaces of this machine."""
