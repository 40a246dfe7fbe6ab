"""Strategies that decide bar by bar: what they see, what they ask for, and the loop that drives the ledger."""
