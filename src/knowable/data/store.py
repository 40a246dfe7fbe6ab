"""`Store`: point-in-time datasets in a folder. What was known when is a question it answers by itself."""

from __future__ import annotations

from knowable.data.belonging import Belonging
from knowable.data.cleaning import Cleaning
from knowable.data.following import Following
from knowable.data.keeping import Keeping
from knowable.data.markets import Markets
from knowable.data.naming import Naming
from knowable.data.reading import Reading
from knowable.data.writing import Writing

__all__ = ["Store"]


class Store(Cleaning, Writing, Markets, Naming, Reading, Belonging, Keeping, Following):
    """A folder of point-in-time datasets, each a Delta table of append-only observations.

    Writing: create, append, quarantine. Reading: read, panel, market. Keeping: versions, schema, datasets, table_path.
    Belonging: members. Naming: identify, names. Cleaning: clean, flags, quality.

    Args:
        folder: where the store lives; made if absent.
    """
