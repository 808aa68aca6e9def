"""The demo's models, kept in memory to be evaluated with one prompt after another."""

from __future__ import annotations

import functools
from collections.abc import Mapping

import numpy as np
import seqio

from examples.demo.tasks import VOCABULARY
from prompt_tuning_recycling import network
from prompt_tuning_recycling.models import open_model
from prompt_tuning_recycling.standalone.data import DatasetConfig
from prompt_tuning_recycling.standalone.evaluation import Evaluation
from prompt_tuning_recycling.standalone.model import EncoderDecoder
from prompt_tuning_recycling.standalone.prompted import PromptedModel, source_model

TOKENS = {"inputs": 24, "targets": 2}
BATCH_SIZE = 256


def load(checkpoint: str, length: int) -> PromptedModel:
    """Loads a model for prompts of `length` vectors."""
    # The other sizes are those of the checkpoint.
    like = EncoderDecoder(network.Transformer(network.T5Config()), VOCABULARY)
    return source_model(like, open_model(checkpoint), length, BATCH_SIZE)


def accuracy(
    model: PromptedModel, prompts: Mapping[str, np.ndarray], task: str
) -> float:
    """Returns a prompt's accuracy on the task's test split, in percent."""
    evaluation = _evaluation(model, task)
    metrics = evaluation.run(model.parameters(prompts), model.checkpoint.step)
    return float(metrics[task]["accuracy"])


@functools.cache
def _evaluation(model: PromptedModel, task: str) -> Evaluation:
    dataset = DatasetConfig(task, TOKENS, "test", BATCH_SIZE)
    silent = functools.partial(seqio.Evaluator, logger_cls=())
    return Evaluation(model.model, dataset, "", silent, repeated=True)
