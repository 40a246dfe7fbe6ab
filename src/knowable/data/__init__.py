"""The point-in-time store: ingest, as-of reads, panels, and the `Market` a backtest runs on.

Nothing is imported here: a worker that maps a market needs neither Delta tables nor ingest.
"""
