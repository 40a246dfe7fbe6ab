"""How many examples Hypothesis tries: 32 a law, drawn anew each run; with `EXAMPLES=full` 100, as CI does at the end.

With `SAME_EXAMPLES=1`, as CI runs, they are the same ones every time: there a change is judged, not the luck of a draw.
A test that asks for more asks for a multiple of that, such as `3 * settings().max_examples`. An example has no time
limit: the first one of a test may have to compile a kernel. Failures are not explained line by line: for that every
line would be traced, which is slow, and which once left the interpreter (3.11) in an endless loop.
"""

import os

from hypothesis import Phase, settings

UNTRACED = tuple(phase for phase in Phase if phase is not Phase.explain)
SAME = os.environ.get("SAME_EXAMPLES") == "1"
settings.register_profile("quick", max_examples=32, deadline=None, phases=UNTRACED, derandomize=SAME)
settings.register_profile("full", max_examples=100, deadline=None, phases=UNTRACED, derandomize=SAME)
settings.load_profile(os.environ.get("EXAMPLES", "quick"))


def pytest_xdist_auto_num_workers() -> int:
    """One worker more than there are cores: a third of the time tests wait for processes and browsers they started."""
    return (os.cpu_count() or 1) + 1
