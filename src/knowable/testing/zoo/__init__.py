"""Strategies that look ahead, one family a file, and honest ones that look as if they did."""
