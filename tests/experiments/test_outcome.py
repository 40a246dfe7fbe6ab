"""Tables of a run on disk."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from knowable.experiments.outcome import read_bounded


def test_a_table_that_would_swell_is_refused_before_it_does(tmp_path) -> None:
    """40 million zeros are 135 kB on disk and 320 MB as numbers; nothing keeps a file from stating billions."""
    path = tmp_path / "equity.parquet"
    parquet.write_table(pa.table({"equity": np.zeros(40_000_000, np.int8)}), path)
    assert path.stat().st_size < 300_000
    with pytest.raises(ValueError, match="equity.parquet of .* bytes says that it holds 320,000,000"):
        read_bounded(path)


def test_a_table_of_equal_values_is_read(tmp_path) -> None:
    table = pd.DataFrame({"equity": np.full(300_000, 1e6), "reason": "filled"})
    table.to_parquet(tmp_path / "equity.parquet")
    pd.testing.assert_frame_equal(read_bounded(tmp_path / "equity.parquet"), table)
