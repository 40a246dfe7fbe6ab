"""Mending: refused rows are handed out as they came, and what comes back is told by its id. All of it is pure.

The quarantine is append-only. A record with `mends` set settles the row of that id: its rule is ``"mended"``, with the
version that holds the row, or ``"dismissed"``, with the reason as its detail.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from knowable.data.ingest.batch import Habits, Known, read_how
from knowable.data.ingest.checks import RULES
from knowable.data.ingest.refused import QUARANTINE
from knowable.errors import InputError, shown, unknown_name

__all__ = ["ID", "Mend", "check_ids", "dismissed", "mends", "refused", "settled", "vendor_frame"]

ID = "quarantine_id"
_OURS = (ID, "quarantine_rule", "quarantine_detail")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mend:
    """Corrected rows that are read in one way.

    Attributes:
        frame: their cells in the vendor's columns.
        ids: (n_rows,) the refused row each comes from.
        columns: the vendor's column -> ours, as when the rows were refused, but for columns that are gone.
        tz: zone of times that name none, as then.
        known: how the rows came to be known, as then; None where a mend alone can say.
        habits: of the file the rows came from.
        identifiers: dataset that said whose the names were; None where rows name entities themselves.
    """

    frame: pd.DataFrame
    ids: tuple[str, ...]
    columns: Mapping[str, str]
    tz: str | None
    known: Known | None
    habits: Habits
    identifiers: str | None


def refused(
    rows: pa.Table, *, rule: str | None = None, batch: str | None = None, resolved: bool | None = False
) -> pa.Table:
    """The refused rows of a quarantine table, with what became of each.

    Args:
        rows: of the quarantine, records of mends among them.
        rule: rows of this rule only.
        batch: rows of this append only.
        resolved: False: rows still to be mended; True: rows that were mended or dismissed; None: both.

    Returns: the columns of the quarantine but for `mends` and `version`, and resolved_by ("mended", "dismissed" or
        null) and resolved_version (that holds the mended row); sorted by batch, file and row.

    Raises: UnknownNameError for a rule that does not exist.
    """
    known = {*RULES, *rows["rule"].to_pylist()}  # those of ingest, and those by which cleaning withdrew rows
    if rule is not None and rule not in known:
        raise unknown_name("rule", rule, known, where="the quarantine")
    records = rows.filter(pc.is_valid(rows["mends"]))
    first = records.group_by("mends", use_threads=False).aggregate([("rule", "first"), ("version", "first")])
    by = dict(zip(first["mends"].to_pylist(), first["rule_first"].to_pylist(), strict=True))
    at = dict(zip(first["mends"].to_pylist(), first["version_first"].to_pylist(), strict=True))
    found = rows.filter(pc.is_null(rows["mends"])).drop_columns(["mends", "version"])
    ids = found["id"].to_pylist()
    found = found.append_column("resolved_by", pa.array([by.get(item) for item in ids], pa.string()))
    found = found.append_column("resolved_version", pa.array([at.get(item) for item in ids], pa.int64()))
    if rule is not None:
        found = found.filter(pc.equal(found["rule"], rule))
    if batch is not None:
        found = found.filter(pc.equal(found["batch"], batch))
    if resolved is not None:
        open_ones = pc.is_null(found["resolved_by"])
        found = found.filter(pc.invert(open_ones) if resolved else open_ones)
    return found.sort_by([(name, "ascending") for name in ("batch", "file", "row", "line", "id")])


def vendor_frame(rows: pa.Table) -> pd.DataFrame:
    """Refused rows as their vendor wrote them: quarantine_id, quarantine_rule, quarantine_detail, and the cells.

    A line that was no row of its file has no cells; its detail shows the line. All columns are of dtype object, so
    that any cell takes any correction.
    """
    cells = [_cells(raw) for raw in rows["raw"].to_pylist()]
    names = list(dict.fromkeys(name for item in cells for name in item))
    details = [
        detail if item or not raw else f"{detail}; the line: {raw}"
        for detail, raw, item in zip(rows["detail"].to_pylist(), rows["raw"].to_pylist(), cells, strict=True)
    ]
    data: dict[str, list[Any]] = {ID: rows["id"].to_pylist(), _OURS[1]: rows["rule"].to_pylist(), _OURS[2]: details}
    data.update({name: [item.get(name) for item in cells] for name in names})
    return pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in data.items()})


def mends(frame: object, rows: pa.Table, where: str) -> list[Mend]:
    """Corrected rows, apart by how their files were read.

    Args:
        frame: what `vendor_frame` gave, corrected; rows may be left out.
        rows: of the quarantine.
        where: the dataset, for messages.

    Raises: InputError if there is no quarantine_id; UnknownNameError for an id that is not in the quarantine.
    """
    if not isinstance(frame, pd.DataFrame):
        raise InputError(f"`frame` must be what store.quarantined_rows({where!r}) gives, but it is {shown(frame)}.")
    if ID not in frame.columns:
        raise InputError(
            f"`frame` has no column {ID!r}, which says what each row mends; start from\n"
            f"rows = store.quarantined_rows({where!r}), correct its cells, and hand it back with that column."
        )
    if not len(frame):
        raise InputError("`frame` has no rows.")
    ids = check_ids(frame[ID].tolist(), rows, where)
    at = {item: k for k, item in enumerate(rows["id"].to_pylist())}
    raws, hows = rows["raw"].to_pylist(), rows["how"].to_pylist()
    groups: dict[str | None, list[int]] = {}
    for place, item in enumerate(ids):
        groups.setdefault(hows[at[item]], []).append(place)
    found = []
    for how, places in groups.items():
        part = frame.iloc[places].drop(columns=[name for name in _OURS if name in frame.columns])
        named = {name for place in places for name in _cells(raws[at[ids[place]]])}
        part = part[[name for name in part.columns if name in named or part[name].notna().any()]]
        columns, tz, known, habits = read_how(how)
        found.append(
            Mend(
                frame=part.reset_index(drop=True),
                ids=tuple(ids[place] for place in places),
                columns={name: ours for name, ours in columns.items() if name in part.columns},
                tz=tz,
                known=known,
                habits=habits,
                identifiers=json.loads(how or "{}").get("identifiers"),
            )
        )
    return found


def settled(bad_rows: Iterable[int], ids: Sequence[str], rows: pa.Table, *, batch: str, version: int) -> pa.Table:
    """Records for the ids of which every corrected row is stored, but for those that were settled before.

    Args:
        bad_rows: places of the corrected rows that were refused again.
        ids: (n_rows,) of the corrected rows.
        rows: of the quarantine, records of mends among them.
        batch: id of the append that stored them.
        version: that holds them.
    """
    still = {ids[place] for place in bad_rows}
    done = set(rows["mends"].to_pylist())
    fresh = [item for item in dict.fromkeys(ids) if item not in still and item not in done]
    return _records(fresh, rule="mended", detail=f"stored in version {version}", batch=batch, version=version)


def dismissed(ids: Sequence[str], rows: pa.Table, *, note: str, batch: str) -> pa.Table:
    """Records for rows that nobody will mend, but for those that were settled before.

    Args:
        ids: of the rows.
        rows: of the quarantine, records of mends among them.
        note: why.
        batch: id of this act.
    """
    done = set(rows["mends"].to_pylist())
    fresh = [item for item in dict.fromkeys(ids) if item not in done]
    return _records(fresh, rule="dismissed", detail=note, batch=batch, version=None)


def check_ids(ids: Sequence[object], rows: pa.Table, where: str) -> list[str]:
    """Ids that are in the quarantine. Raises: UnknownNameError naming the first that is not."""
    known = set(rows["id"].to_pylist())
    for item in ids:
        if item not in known:
            raise unknown_name("quarantine_id", item, sorted(known)[:3], where=f"the quarantine of {where!r}")
    return [str(item) for item in ids]


def _records(ids: Sequence[str], *, rule: str, detail: str, batch: str, version: int | None) -> pa.Table:
    page = [
        {
            "id": hashlib.sha256(f"{rule} {item} {batch}".encode()).hexdigest()[:16],
            "batch": batch,
            "rule": rule,
            "detail": detail,
            "mends": item,
            "version": version,
        }
        for item in ids
    ]
    return pa.Table.from_pylist(page, schema=QUARANTINE)


def _cells(raw: str | None) -> dict[str, Any]:
    """The cells of a row as it came; none for a line that was no row."""
    try:
        found = json.loads(raw or "")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
