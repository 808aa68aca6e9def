"""Recyclers, which learn maps from one model's embedding space to another's.

Each recycler has its own file. To add one, subclass `Recycler` as a frozen dataclass
and decorate it with `register`; see docs/recyclers.md.
"""

from prompt_tuning_recycling.recyclers.base import Fit, Recycler
from prompt_tuning_recycling.recyclers.lin_comb import LinearCombination
from prompt_tuning_recycling.recyclers.registry import get, make, names, register
from prompt_tuning_recycling.recyclers.v2v_lin import VocabToVocabLinear
from prompt_tuning_recycling.recyclers.v2v_nn import VocabToVocabMLP

PORTFOLIO = ("v2v-lin", "v2v-nn")

__all__ = [
    "PORTFOLIO",
    "Fit",
    "LinearCombination",
    "Recycler",
    "VocabToVocabLinear",
    "VocabToVocabMLP",
    "get",
    "make",
    "names",
    "register",
]
