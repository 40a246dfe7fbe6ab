"""Weights that are solved for, rebalance by rebalance: risk parity and mean-variance."""
