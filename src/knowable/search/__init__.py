"""Search: a space of parameters, samplers behind one contract, and a study as a pure machine."""

from knowable.search.base import Proposal, Sampler
from knowable.search.gp import GaussianProcess
from knowable.search.grid import Grid
from knowable.search.history import History
from knowable.search.optimizer import Optimizer
from knowable.search.parzen import Parzen
from knowable.search.random import Random
from knowable.search.space import Space
from knowable.search.study import Study
from knowable.search.trial import Reason, Status, Trial

__all__ = [
    "GaussianProcess",
    "Grid",
    "History",
    "Optimizer",
    "Parzen",
    "Proposal",
    "Random",
    "Reason",
    "Sampler",
    "Space",
    "Status",
    "Study",
    "Trial",
]
