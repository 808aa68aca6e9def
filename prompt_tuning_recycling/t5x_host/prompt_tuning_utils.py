"""What prompt-tuning's gin files need from its `train/utils.py`. That module can no
longer be imported: it builds on `flax.optim`, which Flax 0.6 removed.

Importing this module replaces that one, so that prompt-tuning's own model files work as
they are. Name `models/prompt_tuning.gin` before them.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from typing import Any

import gin
from t5x import checkpoints

from prompt_tuning_recycling.t5x_host.export import ExportPrompts

_NAME = "prompt_tuning.train.utils"


@gin.register(module=_NAME)
def match_any(regexes: Sequence[str]) -> Callable[[str, Any], bool]:
    """Returns a filter for Flax's ModelParamTraversal. It says whether one of the
    regular expressions matches a parameter's whole name, including its leading slash.
    """
    patterns = [re.compile(regex) for regex in regexes]
    return lambda name, _: any(pattern.fullmatch(name) for pattern in patterns)


@gin.register(module=_NAME)
class Checkpointer(checkpoints.Checkpointer):
    """T5X's legacy checkpointer, extended to export some parameters at every save.

    With Orbax, T5X ignores it; `runs/t5x/tune_prompt.gin` exports with both.
    """

    def __init__(self, *args: Any, save_paths: Sequence[str], **kwargs: Any) -> None:
        """Takes the arguments of T5X's checkpointer, and one more.

        Args:
          *args: arguments of T5X's checkpointer.
          save_paths: regular expressions for the names of the parameters to export.
          **kwargs: arguments of T5X's checkpointer.
        """
        self._save_paths = tuple(save_paths)
        super().__init__(*args, **kwargs)

    def save(
        self,
        train_state: Any,
        state_transformation_fns: Sequence[Any] = (),
        *,
        concurrent_gb: int = 128,
    ) -> None:
        """Saves a step and exports what matches."""
        exported = [isinstance(fn, ExportPrompts) for fn in state_transformation_fns]
        if not any(exported):
            export = ExportPrompts(self.checkpoints_dir, self._save_paths)
            state_transformation_fns = (*state_transformation_fns, export)
        super().save(train_state, state_transformation_fns, concurrent_gb=concurrent_gb)


def _replace() -> None:
    """Makes `from prompt_tuning.train import utils` find this module."""
    import prompt_tuning.train

    sys.modules[_NAME] = sys.modules[__name__]
    prompt_tuning.train.utils = sys.modules[__name__]


_replace()
