"""Expressions as readable text, and back: a grammar of our own, so that a text of a file can do nothing else."""
