"""A host that is quick: its metric is the first number of the prompt."""

import functools

import numpy as np
import seqio

from prompt_tuning_recycling.evaluation.loggers import Loggers
from prompt_tuning_recycling.models import open_model


class Target:
    """A host's model in memory.

    Attributes:
      loggers: what its evaluations are written by.
    """

    def __init__(self, task, before=lambda: None):
        """Takes the name of its task, and what happens before each evaluation."""
        self.model = open_model(np.ones((10, 3), np.float32))
        self.shapes = {"encoder/prompt/prompt/prompt": (2, 3)}
        logger = functools.partial(seqio.JSONLogger, write_n_results=0)
        self.loggers = Loggers([logger])
        self._log = self.loggers.bound_to(_Evaluator)().log
        self._task, self._before = task, before

    def check_without_prompt(self):
        """It can do without one."""

    def evaluate(self, prompts):
        self._before()
        value = float(next(iter(prompts.values()))[0, 0]) if prompts else -1.0
        self._log(
            task_name=self._task,
            step=1,
            metrics={"accuracy": seqio.metrics.Scalar(value)},
            dataset=None,
            inferences=None,
            targets=None,
        )
        return {self._task: {"accuracy": value}}


class _Evaluator:
    def __init__(self, logger_cls):
        self.log = logger_cls[0]("")
