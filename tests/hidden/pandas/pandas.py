"""Stands before the package of this name."""

raise ImportError("hidden by tests/lean.py")
