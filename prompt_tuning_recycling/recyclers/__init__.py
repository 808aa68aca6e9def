"""Recyclers, which learn maps from one model's embedding space to another's.

Each recycler has its own file. To add one, subclass `Recycler` as a frozen dataclass
and decorate it with `register`; see docs/recyclers.md.
"""

from prompt_tuning_recycling.recyclers.base import Fit, Recycler
from prompt_tuning_recycling.recyclers.copy import Copy
from prompt_tuning_recycling.recyclers.lin_comb import LinearCombination
from prompt_tuning_recycling.recyclers.local import Local
from prompt_tuning_recycling.recyclers.mean import Mean
from prompt_tuning_recycling.recyclers.procrustes import Procrustes
from prompt_tuning_recycling.recyclers.registry import get, make, names, register
from prompt_tuning_recycling.recyclers.relative import Relative
from prompt_tuning_recycling.recyclers.soft_nearest import SoftNearest
from prompt_tuning_recycling.recyclers.sparse import Sparse
from prompt_tuning_recycling.recyclers.v2v_lin import VocabToVocabLinear
from prompt_tuning_recycling.recyclers.v2v_nn import VocabToVocabMLP

# The recyclers that a choice among candidates considers by default. None of them is the
# best for every pair of models.
PORTFOLIO = (
    Copy.name,
    VocabToVocabLinear.name,
    VocabToVocabMLP.name,
    SoftNearest.name,
    Procrustes.name,
    Relative.name,
    Sparse.name,
    Local.name,
)

__all__ = [
    "PORTFOLIO",
    "Copy",
    "Fit",
    "LinearCombination",
    "Local",
    "Mean",
    "Procrustes",
    "Recycler",
    "Relative",
    "SoftNearest",
    "Sparse",
    "VocabToVocabLinear",
    "VocabToVocabMLP",
    "get",
    "make",
    "names",
    "register",
]
