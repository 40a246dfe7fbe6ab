"""The operator table: what each function of the language is computed by."""

from knowable.features.operators.across import ACROSS
from knowable.features.operators.base import Operator
from knowable.features.operators.clock import CLOCKED
from knowable.features.operators.element import ELEMENT
from knowable.features.operators.expanding import EXPANDING
from knowable.features.operators.groups import GROUPS
from knowable.features.operators.model import MODELS
from knowable.features.operators.moments import MOMENTS
from knowable.features.operators.moving import MOVING
from knowable.features.operators.order import ORDER
from knowable.features.operators.pairs import PAIRS
from knowable.features.operators.paths import PATHS
from knowable.features.operators.settings import SETTINGS
from knowable.features.operators.weights import WEIGHTS

__all__ = ["OPERATORS", "SETTINGS", "Operator"]

_FAMILIES = (ELEMENT, MOVING, ORDER, PATHS, MOMENTS, PAIRS, EXPANDING, ACROSS, GROUPS, CLOCKED, WEIGHTS, MODELS)
OPERATORS: dict[str, Operator] = {each.name: each for family in _FAMILIES for each in family}
