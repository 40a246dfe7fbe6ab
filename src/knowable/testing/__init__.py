"""Conformity kits, slow readable oracles and test surfaces; nothing in src imports this."""
