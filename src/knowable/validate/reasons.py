"""Which reason fits a leak: how far it reaches, and whether the future came straight or by way of a fit."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from knowable.validate.probes import Difference, Prober
from knowable.validate.reach import Reach

__all__ = ["fits_models", "kind_of", "reach_ahead"]

_FITS = frozenset(
    {
        "OLS", "RollingOLS", "curve_fit", "fit", "fit_predict", "fit_transform", "linregress", "lstsq", "minimize",
        "partial_fit", "pinv", "polyfit", "solve",
    }
)  # fmt: skip
_DILUTED = 0.04  # change of a weight by a tenth of a usual move: measured 0.004 to 0.02 by fits, 0.08 where it is read
_SELDOM = 0.6


def reach_ahead(differences: Iterable[Difference]) -> int | None:
    """Most rows between a change and the cut that caused it; None where there is none, or it grows with the sample."""
    leaking = [d for d in differences if d.found]
    if not leaking:
        return None
    ahead = max(d.cut - int(d.first[d.first >= 0].min()) for d in leaking)
    return ahead if 4 * ahead < max(d.cut for d in leaking) else None


def fits_models(reach: Reach) -> bool:
    """Whether the code names what fits a model, such as ``fit`` or ``lstsq``."""
    return bool(_FITS & reach.called)


def kind_of(prober: Prober) -> str:
    """What to call what all cuts showed.

    ``"length"`` where only leaving bars out changed anything. ``"label-overlap"`` where the code fits a model, no more
    than a few rows before a cut change, and they change as a model's few newest labels would change them: by little
    when the future is moved a little, for a fit dilutes one row among many; or, where that shows nothing, at some cuts
    only, those just after a fit. Otherwise ``"look-ahead"``.
    """
    differences = prober.differences()
    if not any(d.found and d.by != "length" for d in differences):
        return "length"
    if reach_ahead(differences) is None or not fits_models(prober.reach):
        return "look-ahead"
    little = [_share_of_weight(d, prober.full.panel) for d in differences if d.by == "slightly" and d.found]
    if little:
        return "label-overlap" if float(np.median(little)) <= _DILUTED else "look-ahead"
    first = min(int(d.first[d.first >= 0].min()) for d in differences if d.found)
    tried = [d.found for d in differences if d.by == "values" and d.cut > first]
    return "label-overlap" if np.mean(tried) < _SELDOM else "look-ahead"


def _share_of_weight(difference: Difference, full: np.ndarray) -> float:
    """How much the weights changed, as a share of a usual one."""
    sizes = np.abs(full[np.isfinite(full) & (full != 0.0)])
    gaps = np.abs(difference.was - difference.became)[difference.first >= 0]
    gaps = gaps[np.isfinite(gaps)]
    if not len(sizes) or not len(gaps):
        return np.inf
    return float(np.median(gaps) / np.median(sizes))
