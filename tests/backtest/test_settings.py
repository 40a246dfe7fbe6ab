"""What an account may be."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest

from knowable.backtest import Costs, Settings
from knowable.errors import InputError, UnknownNameError


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (lambda: Costs(half_spread_bps=-2.0), InputError, r"`half_spread_bps >= 0` must hold, but half_spread_bps=-2"),
        (lambda: Costs(fee_bps="10"), InputError, "finite number"),
        (lambda: Costs(fee_bps=float("nan")), InputError, "finite number"),
        (lambda: Costs(fee_min=True), InputError, "finite number"),
        (lambda: Costs(slippage_bps=9_000, half_spread_bps=1_000), InputError, "< 10000"),
        (lambda: Settings(cash=0), InputError, "`cash > 0` must hold"),
        (lambda: Settings(lot=-1), InputError, "`lot > 0` must hold"),
        (lambda: Settings(max_leverage=0), InputError, "`max_leverage > 0`"),
        (lambda: Settings(costs=10), InputError, r"Costs\(fee_bps=10\)"),
        (lambda: Settings(fill="nextopen"), UnknownNameError, "Did you mean 'next_open'"),
        (lambda: Settings(size_at="decison"), UnknownNameError, "Did you mean 'decision'"),
        (lambda: Settings(leverage_check="strickt"), UnknownNameError, "Did you mean 'strict'"),
        (lambda: Settings(preset="vectorbot"), UnknownNameError, "Did you mean 'vectorbt'"),
        (lambda: Settings(preset="vectorbt", fill="next_close"), InputError, "needs fill='close'"),
        (lambda: Settings(preset="backtesting", max_leverage=2), InputError, "no leverage"),
        (lambda: Settings(preset="backtesting", costs=Costs(slippage_bps=1)), InputError, "slippage_bps=1"),
        (lambda: Settings(preset="vectorbt", costs=Costs(fee_min=1)), InputError, "fee_min=1"),
    ],
)
def test_what_cannot_be_is_refused_with_the_reason(make, error, says):
    with pytest.raises(error, match=says):
        make()


@pytest.mark.parametrize("preset", [None, "vectorbt", "backtesting"])
def test_settings_survive_json(preset):
    account = Settings(cash=5, costs=Costs(fee_bps=3), preset=preset)
    assert Settings.from_plain(json.loads(json.dumps(asdict(account)))) == account


def test_a_preset_sets_every_switch():
    account = Settings(costs=Costs(fee_bps=1)).with_preset("backtesting")
    assert (account.fill, account.size_at, account.lot) == ("next_open", "fill", 1.0)
    account = Settings(preset="vectorbt")
    assert (account.fill, account.size_at, account.lot) == ("close", "fill", None)
    assert Settings(preset="vectorbt", lot=10).lot == Settings(preset="backtesting", lot=10).lot == 10.0
