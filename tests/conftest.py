"""How many examples Hypothesis tries: 40 a law, drawn anew each run; with `EXAMPLES=full` 100, as CI does at the end.

A test that asks for more asks for a multiple of that, such as `3 * settings().max_examples`. An example has no time
limit: the first one of a test may have to compile a kernel.
"""

import os

from hypothesis import settings

settings.register_profile("quick", max_examples=40, deadline=None)
settings.register_profile("full", max_examples=100, deadline=None)
settings.load_profile(os.environ.get("EXAMPLES", "quick"))
