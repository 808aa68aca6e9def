"""The base class of maps. `apply` carries over one prompt or thousands."""

from __future__ import annotations

import abc
import dataclasses
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.models.floats import check_floating

if TYPE_CHECKING:
    from jaxtyping import Float


@dataclasses.dataclass(frozen=True, eq=False)
class Map(abc.ABC):
    """A map from the source's embedding space to the target's.

    A subclass is a frozen dataclass. Its fields are the map's arrays and numbers, or
    tuples of other maps, and files hold them under the same names. A number that was
    read from a file is an array without dimensions. A field may be None if that is its
    default.

    Attributes:
      kind: the name of this kind of map in files.
      costly: whether mapping a vector takes much longer than a product with a matrix.
    """

    kind: ClassVar[str]
    costly: ClassVar[bool] = False

    @property
    @abc.abstractmethod
    def source_dim(self) -> int:
        """The width of the prompts that the map takes."""

    @abc.abstractmethod
    def _apply(
        self, vectors: Float[np.ndarray, "*prompts length source_dim"]
    ) -> Float[np.ndarray, "*prompts length target_dim"]:
        """Maps float64 vectors, each prompt independently of the others."""

    def combination(
        self, prompt: Float[np.ndarray, "length source_dim"]
    ) -> list[list[tuple[int, float]]] | None:
        """Returns the words that each vector is a combination of, as places among the
        words that the map was learned from, with their coefficients; or None if the map
        does not write vectors in a few words.
        """
        return None

    def apply(
        self, prompts: Float[np.ndarray, "*prompts length source_dim"]
    ) -> Float[np.ndarray, "*prompts length target_dim"]:
        """Returns prompts carried over to the target model, float32.

        A prompt gets the same bits in every stack of prompts. Without a stack, the
        result may differ by rounding.

        Args:
          prompts: one prompt [length, source_dim], or a stack with any number of
            leading axes; float16, bfloat16, float32 or float64.

        Raises:
          RecyclingError: the prompts have another width or dtype, they hold numbers
            that are not finite, or the result overflows.
        """
        prompts = np.asarray(prompts)
        if prompts.ndim < 2 or prompts.shape[-1] != self.source_dim:
            raise RecyclingError(
                f"expected a prompt [length, {self.source_dim}], the width of the "
                f"source model's embeddings, found shape {list(prompts.shape)}. Was it "
                "tuned on another model?"
            )
        check_floating(prompts.dtype, "the prompt")
        wide = prompts.astype(np.float64)
        if not np.isfinite(wide).all():
            raise RecyclingError("the prompt has numbers that are not finite.")
        with np.errstate(over="ignore"):
            mapped = self._apply(wide).astype(np.float32)
        if not np.isfinite(mapped).all():
            raise RecyclingError(
                "the recycled prompt has numbers that are not finite: the map blows it "
                "up. The fit's warnings say why. More words or a higher rcond may help."
            )
        return mapped

    def approximate(
        self, vectors: Float[np.ndarray, "vectors source_dim"]
    ) -> Float[np.ndarray, "vectors target_dim"]:
        """Returns `apply` of many vectors to six digits, which is enough for residuals
        and cheaper for some maps.

        Args:
          vectors: finite vectors in one of the dtypes of `apply`.
        """
        return self.apply(vectors)


def residual(
    map_: Map,
    source: Float[np.ndarray, "words source_dim"],
    target: Float[np.ndarray, "words target_dim"],
    enough: int = 256,
) -> float | None:
    """Returns ‖f(S) − T‖ / ‖T‖ (Frobenius): 0 means a perfect map of these words, and 1
    is as good as mapping every word to zero. Returns None if there are no words, or if
    T is zero.

    Args:
      map_: f.
      source: S.
      target: T.
      enough: of how many words, evenly spaced, the residual is taken if the map is
        costly and there are more; it is then known to a few percent.
    """
    if map_.costly and len(source) > enough:
        some = np.linspace(0, len(source) - 1, enough).astype(np.int64)
        source, target = source[some], target[some]
    wide = target.astype(np.float64)
    if not wide.any():
        return None
    return float(np.linalg.norm(map_.approximate(source) - wide) / np.linalg.norm(wide))
