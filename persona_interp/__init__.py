"""Lazy table of contents."""
