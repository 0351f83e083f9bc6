"""TODO table of contents."""
