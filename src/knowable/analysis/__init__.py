"""What a feature says about the returns that follow it, before anything is traded on it."""

from __future__ import annotations

from typing import Any

from knowable.features.feature import Feature

__all__ = ["analyse"]


def analyse(feature: Feature, market: Any = None, **options: Any) -> Any:
    """`Feature.analyse`; see `knowable.analysis.study.analyse`."""
    from knowable.analysis.study import analyse as study

    return study(feature, market, **options)


Feature.bind_analysis(analyse)
