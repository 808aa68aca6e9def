"""Initial prompts that were never tuned."""

from __future__ import annotations

import dataclasses
import logging
import zlib
from collections.abc import Sequence

import numpy as np
from etils import epath

from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.initial_prompts.base import (
    InitialPrompt,
    made,
)
from prompt_tuning_recycling.models import Model
from prompt_tuning_recycling.models.vocabularies import Vocabulary
from prompt_tuning_recycling.prompts import Prompt
from prompt_tuning_recycling.words.words import of_another_vocabulary

logger = logging.getLogger(__name__)

# The paper's code does not use the padded tail of the table. Pieces beyond this rank
# are rare words, fragments and characters.
_POPULATION = 5000


@dataclasses.dataclass(frozen=True)
class RandomUniform(InitialPrompt):
    """Numbers drawn uniformly from [-scale, scale). Lester et al. 2021 use a scale of
    0.5.

    Attributes:
      scale: the largest magnitude.
      seed: the seed of the random numbers.
    """

    scale: float = 0.5
    seed: int = 0

    def make(self, target: Model, length: int, site: str | None = None) -> Prompt:
        shape = (length, target.embeddings.shape[1])
        drawn = _random(self.seed, site).uniform(-self.scale, self.scale, shape)
        return made(drawn, site, dataclasses.asdict(self))


@dataclasses.dataclass(frozen=True)
class SampledVocabulary(InitialPrompt):
    """Embeddings of pieces drawn from the vocabulary (Lester et al. 2021, §3.2).

    Attributes:
      population_size: how many pieces to draw from. They are at the beginning of the
        vocabulary, where the most frequent ones are.
      first: index of the first of them; the pieces before it are special, such as
        padding.
      exclude: vocabulary indices that are never drawn, such as those of the labels.
      seed: the seed of the random numbers.
    """

    population_size: int = _POPULATION
    first: int = 3
    exclude: Sequence[int] = ()
    seed: int = 0

    def make(self, target: Model, length: int, site: str | None = None) -> Prompt:
        size = target.embeddings.shape[0]
        end = min(self.first + self.population_size, size)
        population = np.setdiff1d(np.arange(self.first, end), self.exclude)
        if not len(population):
            raise RecyclingError(
                f"there is nothing to sample the prompt from: pieces {self.first} to "
                f"{end} of a vocabulary of {size}, minus {len(self.exclude)} "
                "excluded ones. Raise population_size or exclude fewer."
            )
        replace = len(population) < length
        rows = _random(self.seed, site).choice(population, length, replace)
        record = {"rows": rows.tolist(), "seed": self.seed}
        return made(target.embeddings.take(rows), site, record)


@dataclasses.dataclass(frozen=True)
class FromText(InitialPrompt):
    """Embeddings of texts, such as the class labels (Lester et al. 2021, §3.2). Each
    text gives one vector, the mean of its pieces' embeddings. The rest of the prompt is
    sampled from the vocabulary.

    Attributes:
      texts: the texts; those that exceed the length of the prompt are not used.
      vocabulary: the model's SentencePiece file or `tokenizer.json`; None for the one
        beside the model.
      seed: the seed of the sampling.
    """

    texts: Sequence[str]
    vocabulary: epath.PathLike | None = None
    seed: int = 0

    _files = ("vocabulary",)

    def make(self, target: Model, length: int, site: str | None = None) -> Prompt:
        vocabulary = self._vocabulary(target)
        rows = [vocabulary.encode(text) for text in self.texts[:length]]
        if not rows or not all(rows):
            raise RecyclingError(
                "expected texts to begin the prompt with, each of at least one piece, "
                f"found {list(self.texts)}."
            )
        vectors = np.stack(
            [
                target.embeddings.take(row).astype(np.float32).mean(axis=0)
                for row in rows
            ]
        )
        record = {"texts": list(self.texts[:length]), "seed": self.seed}
        size = target.embeddings.shape[0]
        if foreign := of_another_vocabulary(
            vocabulary.table_sizes, size, str(target.path)
        ):
            logger.warning("warning: %s", foreign)
            record["warnings"] = [foreign]
        rest = length - len(vectors)
        if rest:
            sample = SampledVocabulary(seed=self.seed).make(target, rest, site)
            vectors = np.concatenate([vectors, sample.array])
        return made(vectors, site, record)

    def _vocabulary(self, target: Model) -> Vocabulary:
        if self.vocabulary is not None:
            return Vocabulary(self.vocabulary)
        if target.vocabulary is None:
            raise RecyclingError(
                f"there is no vocabulary beside {target.path} to split the texts with. "
                "Set VOCABULARY_FILE to the model's SentencePiece file or "
                "tokenizer.json."
            )
        return target.vocabulary


def _random(seed: int, site: str | None) -> np.random.Generator:
    """Returns a generator of different numbers for each of a model's prompts."""
    if site is None:
        return np.random.default_rng(seed)
    return np.random.default_rng([seed, zlib.crc32(site.encode())])
