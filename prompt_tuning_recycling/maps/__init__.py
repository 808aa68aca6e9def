"""Maps from one model's embedding space to another's, which recyclers learn. Each kind
of map has its own file.
"""

from prompt_tuning_recycling.maps.affine import Affine
from prompt_tuning_recycling.maps.base import Map, residual
from prompt_tuning_recycling.maps.combination import Combination
from prompt_tuning_recycling.maps.directional import Directional
from prompt_tuning_recycling.maps.factored import FactoredCombination, FactoredLinear
from prompt_tuning_recycling.maps.files import load_map, save_map
from prompt_tuning_recycling.maps.identity import Identity
from prompt_tuning_recycling.maps.linear import Linear
from prompt_tuning_recycling.maps.local import Local
from prompt_tuning_recycling.maps.mean import Mean
from prompt_tuning_recycling.maps.network import Network
from prompt_tuning_recycling.maps.soft_nearest import SoftNearest
from prompt_tuning_recycling.maps.sparse import Sparse

__all__ = [
    "Affine",
    "Combination",
    "Directional",
    "FactoredCombination",
    "FactoredLinear",
    "Identity",
    "Linear",
    "Local",
    "Map",
    "Mean",
    "Network",
    "SoftNearest",
    "Sparse",
    "load_map",
    "residual",
    "save_map",
]
