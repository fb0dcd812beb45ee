"""Segments: immutable, one a version, and the structures that are searched in them."""
