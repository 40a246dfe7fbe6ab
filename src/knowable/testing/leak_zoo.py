"""Strategies that look ahead, each in its own way, and honest ones that look as if they did.

Every specimen states what a report should call it, the first row that leaks where that is known, the assets concerned
and how far ahead it reads, so that a detector can be judged by more than whether it barks. They are those that papers
and forums keep warning of; the families are in the files of `knowable.testing.zoo`.
"""

from __future__ import annotations

from knowable.testing.zoo.base import Honest, Specimen
from knowable.testing.zoo.by_bar import BY_BAR, HONEST_BY_BAR
from knowable.testing.zoo.filling import FILLING
from knowable.testing.zoo.fits import FITS
from knowable.testing.zoo.hidden import HIDDEN
from knowable.testing.zoo.honest_figures import HONEST_FIGURES
from knowable.testing.zoo.honest_models import HONEST_MODELS
from knowable.testing.zoo.near import NEAR
from knowable.testing.zoo.samples import SAMPLES
from knowable.testing.zoo.smoothing import SMOOTHING
from knowable.testing.zoo.state import STATE

__all__ = ["CLEAN", "LEAKY"]

LEAKY: tuple[Specimen, ...] = (*NEAR, *SAMPLES, *SMOOTHING, *FILLING, *FITS, *STATE, *HIDDEN, *BY_BAR)
"""Leaky ones, by family."""

CLEAN: tuple[Honest, ...] = (*HONEST_FIGURES, *HONEST_MODELS, *HONEST_BY_BAR)
"""Honest ones."""
