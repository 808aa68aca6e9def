"""The gin macros that the package's gin files offer, and the values they may have.

Once this module is imported, gin checks the macros after it has read all files and
flags and before anything is loaded. It checks types and ranges, finds names that
nothing uses (which are misspelled), and makes sure that a run does not write where it
reads. It also expands a leading `~` in paths. Gin itself reports required macros that
are not set.
"""

from prompt_tuning_recycling.macros.checks import check
from prompt_tuning_recycling.macros.kinds import MACROS, Kind

__all__ = ["MACROS", "Kind", "check"]
