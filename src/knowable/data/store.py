"""`Store`: point-in-time datasets in a folder. What was known when is a question it answers by itself."""

from __future__ import annotations

from knowable.data.belonging import Belonging
from knowable.data.cleaning import Cleaning
from knowable.data.following import Following
from knowable.data.keeping import Keeping
from knowable.data.library import Library
from knowable.data.markets import Markets
from knowable.data.naming import Naming
from knowable.data.reading import Reading
from knowable.data.writing import Writing

__all__ = ["Store"]


class Store(Cleaning, Library, Writing, Markets, Naming, Reading, Belonging, Keeping, Following):
    """A folder of point-in-time datasets, each a Delta table of append-only observations.

    Writing: create, append, evolve; quarantine, quarantined_rows, mend, dismiss.
    Reading: read, read_batches, panel, history, window, join. Markets: market.
    Naming: identify, names. Belonging: members.
    Cleaning: clean, flags, quality.
    Keeping: versions, schema, datasets, table_path; snapshot, snapshots, drop_snapshot, pin, pins, unpin; diff,
    compact, retain. Following: follow, tail.
    Library: register, features, feature, refresh.

    Args:
        where: folder of the store, made if absent; or a URL such as ``"s3://bucket/desk"``.
        storage_options: of a URL, as deltalake takes them, such as ``{"AWS_REGION": "us-east-1"}``. They may hold
            credentials, so they are kept in no file and shown in no message.
        cache: folder of panels and markets that can always be built again; within the store, or of the user for a URL.
        cache_bytes: how large the panels in it may grow; the least recently used go first.

    Raises: InputError for another scheme; StoreError where no folder can be made.
    """
