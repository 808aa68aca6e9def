"""The base class of recyclers. `fit` learns a map from the embeddings of words."""

from __future__ import annotations

import abc
import dataclasses
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import numpy as np

from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.maps import Map, residual
from prompt_tuning_recycling.words import WordEmbeddings

if TYPE_CHECKING:
    from jaxtyping import Shaped

    Embeddings: TypeAlias = WordEmbeddings | Shaped[np.ndarray, "words dim"]

logger = logging.getLogger(__name__)

# A costly map's residual is measured on so few words that it takes less time than to
# map a prompt.
_ENOUGH = 64


@dataclasses.dataclass(frozen=True, eq=False)
class Fit:
    """The result of fitting a recycler.

    Attributes:
      map: the learned map.
      diagnostics: numbers that describe the fit, JSON-compatible.
      warnings: sentences that a user should read before trusting the map.
      residual: how well the map fits the words that it was learned from; see
        `maps.residual`. `Recycler.fit` measures it unless `learn` has.
    """

    map: Map
    diagnostics: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    residual: float | None = None


@dataclasses.dataclass(frozen=True)
class Recycler(abc.ABC):
    """A way to learn a map from one model's embeddings to another's.

    A subclass is a frozen dataclass with one method, `learn`. Its fields are its
    parameters in gin and on command lines; it checks them in `__post_init__`.

    Attributes:
      name: what the recycler is called on command lines and in records.
      aliases: other names, including those in the paper's code.
    """

    name: ClassVar[str]
    aliases: ClassVar[tuple[str, ...]] = ()

    @abc.abstractmethod
    def learn(self, source: WordEmbeddings, target: WordEmbeddings) -> Fit:
        """Learns the map that takes row i of the source to row i of the target.

        Args:
          source: the source model's embeddings of the words, checked.
          target: the target model's embeddings of the same words, checked.
        """

    def fit(self, source: Embeddings, target: Embeddings) -> Fit:
        """Checks the embeddings, learns a map from them, and measures its residual.

        Args:
          source: the source model's embeddings of the words, [words, source_dim], in
            the dtype that they are stored in: float16, bfloat16, float32 or float64.
            Recyclers that get the same `WordEmbeddings` share what they compute.
          target: the target model's embeddings of the same words, [words, target_dim],
            in one of the same forms.

        Raises:
          RecyclingError: the shapes do not match, there are fewer than two words,
            numbers are not finite or of another dtype, or all embeddings are the same.
        """
        if len(source) != len(target):
            raise RecyclingError(
                "expected the embeddings of the same words, found "
                f"{len(source)} rows of the source and {len(target)} of the target."
            )
        source, target = (
            given
            if isinstance(given, WordEmbeddings)
            else WordEmbeddings.checked(given, whose)
            for given, whose in ((source, "source"), (target, "target"))
        )
        logger.info("fitting %s on %d words", self.name, len(source))
        fit = self.learn(source, target)
        for warning in fit.warnings:
            logger.warning("warning: %s", warning)
        if fit.residual is not None:
            return fit
        measured = residual(fit.map, source.array, target.array, _ENOUGH)
        return dataclasses.replace(fit, residual=measured)

    def parameters(self) -> dict[str, Any]:
        """Returns the recycler's configuration: the value of each field by name."""
        return dataclasses.asdict(self)
