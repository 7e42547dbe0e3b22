"""Gives addresses to services: a pure allocator, a pure reconciler, a thin main."""
