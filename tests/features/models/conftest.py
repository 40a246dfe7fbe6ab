"""Hypothesis without a time limit for an example: the first one of a test may have to compile a kernel."""

from hypothesis import settings

settings.register_profile("compiled", deadline=None)
settings.load_profile("compiled")
