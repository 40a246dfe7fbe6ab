"""Cleaning rules and the report on data quality."""
