"""Saving, loading and explaining a result of 5,000 bars x 500 assets with monthly orders in half of them.

The limit is one pass over the same bytes: writing them as plain files to the same disk, reading them back, and one sum
over the closes.

Run: ``python -m benchmarks results_io``.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.timing import best

N_BARS, N_ASSETS = 5_000, 500


def made() -> Any:
    """A result with highs and lows, so that four panels are kept."""
    import knowable as kn

    rng = np.random.default_rng(2)
    close = 50.0 * np.exp(np.cumsum(rng.normal(0.0002, 0.015, (N_BARS, N_ASSETS)), axis=0))
    opens = close * np.exp(rng.normal(0.0, 0.004, close.shape))
    index = pd.bdate_range("2004-01-01", periods=N_BARS)
    names = [f"S{k:03d}" for k in range(N_ASSETS)]
    fields = {
        "open": opens,
        "high": np.maximum(opens, close) * 1.002,
        "low": np.minimum(opens, close) * 0.998,
        "close": close,
        "volume": np.full(close.shape, 1e6),
    }
    market = kn.Market.from_frames(**{name: pd.DataFrame(each, index, names) for name, each in fields.items()})
    wanted = np.where(rng.random(close.shape) < 0.5, 2.0 / N_ASSETS, 0.0)

    class Half(kn.Strategy):
        """Another half of the assets each month."""

        rebalance = "month_end"

        def weights(self, m: Any) -> np.ndarray:
            return wanted / wanted.sum(axis=1, keepdims=True)

    return kn.backtest(Half(), market, costs=kn.Costs(fee_bps=10, borrow_bps_year=50))


def copied(source: Path, target: Path) -> None:
    """The bytes of a folder written again, as safely."""
    target.mkdir()
    for path in source.iterdir():
        with (target / path.name).open("wb") as file:
            file.write(path.read_bytes())
            file.flush()
            os.fsync(file.fileno())
    shutil.rmtree(target)


def run() -> list[dict[str, Any]]:
    """The table's rows."""
    import knowable as kn

    result = made()
    folder = Path(tempfile.mkdtemp())
    saved = result.save(folder / "saved")
    size = sum(path.stat().st_size for path in saved.iterdir())
    note = f"{size / 1e6:.0f} MB, {len(result.record.orders):,} orders"
    save, copy = best(lambda: result.save(saved), 3), best(lambda: copied(saved, folder / "copy"), 3)
    load = best(lambda: kn.Result.load(saved), 3)
    read = best(lambda: [path.read_bytes() for path in saved.iterdir()], 3)
    _ = result.attribution  # compiles

    def explained() -> None:
        fresh = replace(result)
        _ = fresh.attribution, fresh.cash_flows, fresh.contributions

    explain, total = best(explained, 3), best(lambda: float(result.prices["close"].sum()), 5)
    shutil.rmtree(folder)
    rows = [
        {"case": "save", "ours": save, "peer_name": "limit: the bytes written", "peer": copy, "note": note},
        {"case": "load", "ours": load, "peer_name": "limit: the bytes read", "peer": read, "note": "checked whole"},
        {"case": "attribution, cash flows, contributions", "ours": explain, "peer_name": "limit: one sum of closes"},
    ]
    rows[-1]["peer"] = total
    return [{**row, "ratio": row["ours"] / row["peer"]} for row in rows]


if __name__ == "__main__":
    for row in run():
        print(row)
