"""Maps from one model's embedding space to another's, which recyclers learn. Each kind
of map has its own file.
"""

from prompt_tuning_recycling.maps.affine import Affine
from prompt_tuning_recycling.maps.base import Map, residual
from prompt_tuning_recycling.maps.combination import Combination
from prompt_tuning_recycling.maps.factored import FactoredCombination, FactoredLinear
from prompt_tuning_recycling.maps.files import load_map, save_map
from prompt_tuning_recycling.maps.linear import Linear
from prompt_tuning_recycling.maps.network import Network

__all__ = [
    "Affine",
    "Combination",
    "FactoredCombination",
    "FactoredLinear",
    "Linear",
    "Map",
    "Network",
    "load_map",
    "residual",
    "save_map",
]
