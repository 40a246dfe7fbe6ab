"""Wires the rooms together: backtest, sweep, optimize, walk-forward, and coming back to a run."""
