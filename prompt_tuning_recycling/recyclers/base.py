"""What every recycler offers: `fit` on words, then `apply` to prompts."""

from __future__ import annotations

import abc
import dataclasses
import json
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import safetensors
import safetensors.numpy
from etils import epath

from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.files import as_path, write_atomically
from prompt_tuning_recycling.floats import check_floating, coarsest
from prompt_tuning_recycling.recyclers.least_squares import conditioning_warning

if TYPE_CHECKING:
    from jaxtyping import Float, Shaped

    Arrays = Mapping[str, np.ndarray]

logger = logging.getLogger(__name__)

MIN_WORDS = 2
_FORMAT = "prompt_tuning_recycling/recycler/1"


@dataclasses.dataclass(frozen=True)
class Recycler(abc.ABC):
    """A way to learn a map from one model's embeddings to another's.

    A subclass is a frozen dataclass; its fields are its parameters in gin and on
    the command line. It validates them in `__post_init__`, and defines `_fit` and
    `_apply` on clean float64 arrays.

    Attributes:
      name: what the recycler is called on command lines and in provenance.
      aliases: further names, those of the paper's code among them.
    """

    name: ClassVar[str]
    aliases: ClassVar[tuple[str, ...]] = ()

    def fit(
        self,
        source: Float[np.ndarray, "words source_dim"],
        target: Float[np.ndarray, "words target_dim"],
    ) -> FittedRecycler:
        """Learns the map that takes row i of `source` to row i of `target`.

        Args:
          source: the source model's embeddings of the words, in the dtype that they
            are stored in: float16, bfloat16, float32 or float64.
          target: the target model's embeddings of the same words, likewise.

        Raises:
          RecyclingError: shapes that do not match, fewer than two words, numbers
            that are not finite or of another dtype, or embeddings that are all the
            same.
        """
        source, target = np.asarray(source), np.asarray(target)
        if len(source) != len(target):
            raise RecyclingError(
                "expected the embeddings of the same words, found "
                f"{len(source)} rows of the source and {len(target)} of the target."
            )
        arrays, diagnostics = self._fit(
            _checked_embeddings(source, "source"), _checked_embeddings(target, "target")
        )
        warnings = list(diagnostics["warnings"])
        condition = diagnostics.get("condition_number")
        stored_as = coarsest(source.dtype, target.dtype)
        if condition and (found := conditioning_warning(condition, stored_as)):
            warnings.append(found)
        for warning in warnings:
            logger.warning("warning: %s", warning)
        return FittedRecycler(self, arrays, {**diagnostics, "warnings": warnings})

    @abc.abstractmethod
    def _fit(
        self,
        source: Float[np.ndarray, "words source_dim"],
        target: Float[np.ndarray, "words target_dim"],
    ) -> tuple[Arrays, dict[str, Any]]:
        """Returns the arrays that make up the map, and what to report of the fit.

        The report is JSON-compatible, with `warnings`, a list of sentences. A
        `condition_number` in it is compared with the rounding of the numbers that the
        embeddings were stored as.
        """

    @abc.abstractmethod
    def _apply(
        self, arrays: Arrays, prompt: Float[np.ndarray, "length source_dim"]
    ) -> Float[np.ndarray, "length target_dim"]:
        """Maps vectors of the source's embedding space to the target's."""

    def _apply_all(
        self, arrays: Arrays, prompts: Float[np.ndarray, "prompts length source_dim"]
    ) -> Float[np.ndarray, "prompts length target_dim"]:
        """`_apply` to many prompts, each by itself: the same bits in any company."""
        return np.stack([self._apply(arrays, prompt) for prompt in prompts])

    @abc.abstractmethod
    def _source_dim(self, arrays: Arrays) -> int:
        """The width of the prompts that the map takes."""

    def parameters(self) -> dict[str, Any]:
        """Returns the recycler's configuration, field by field."""
        return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True, eq=False)
class FittedRecycler:
    """A map learned by a recycler. Made by `Recycler.fit` or `load`.

    Attributes:
      recycler: the recycler that learned it.
      arrays: what makes up the map, by name; depends on the recycler.
      diagnostics: what the recycler reports of the fit, JSON-compatible. The entry
        `warnings` lists in sentences what a user should know before trusting it.
    """

    recycler: Recycler
    arrays: Arrays
    diagnostics: Mapping[str, Any]

    @property
    def source_dim(self) -> int:
        """The width of the prompts that `apply` takes."""
        return self.recycler._source_dim(self.arrays)

    def apply(
        self, prompt: Float[np.ndarray, "length source_dim"]
    ) -> Float[np.ndarray, "length target_dim"]:
        """Returns the prompt carried over to the target model, float32.

        Raises:
          RecyclingError: not a matrix of finite numbers of the source's width, or
            the result overflows.
        """
        wide = self._checked(prompt)
        with np.errstate(over="ignore"):
            recycled = self.recycler._apply(self.arrays, wide).astype(np.float32)
        self._check_recycled(recycled)
        return recycled

    def apply_all(
        self, prompts: Float[np.ndarray, "prompts length source_dim"]
    ) -> Float[np.ndarray, "prompts length target_dim"]:
        """Returns many prompts of one length carried over, float32.

        Each comes out as it would in any other company, to the bit; and as from
        `apply`, to rounding.

        Raises:
          RecyclingError: as `apply`.
        """
        wide = np.stack([self._checked(prompt) for prompt in prompts])
        with np.errstate(over="ignore"):
            recycled = self.recycler._apply_all(self.arrays, wide).astype(np.float32)
        self._check_recycled(recycled)
        return recycled

    def _checked(
        self, prompt: Float[np.ndarray, "length source_dim"]
    ) -> Float[np.ndarray, "length source_dim"]:
        prompt = np.asarray(prompt)
        if prompt.ndim != 2 or prompt.shape[1] != self.source_dim:
            raise RecyclingError(
                f"expected a prompt [length, {self.source_dim}], the width of the "
                f"source model's embeddings, found shape {list(prompt.shape)}. Was it "
                "tuned on another model?"
            )
        check_floating(prompt.dtype, "the prompt")
        wide = prompt.astype(np.float64)
        if not np.isfinite(wide).all():
            raise RecyclingError("the prompt has numbers that are not finite.")
        return wide

    def _check_recycled(self, recycled: Float[np.ndarray, ...]) -> None:
        if not np.isfinite(recycled).all():
            raise RecyclingError(
                "the recycled prompt has numbers that are not finite: the map blows it "
                f"up. What the fit reports: {dict(self.diagnostics)}."
            )

    def save(self, path: epath.PathLike) -> None:
        """Writes the map to a safetensors file, with its configuration as metadata.

        Raises:
          RecyclingError: the place cannot be written to.
        """
        arrays = {name: np.ascontiguousarray(a) for name, a in self.arrays.items()}
        metadata = {
            "format": _FORMAT,
            "recycler": self.recycler.name,
            "parameters": json.dumps(self.recycler.parameters()),
            "diagnostics": json.dumps(dict(self.diagnostics)),
        }
        write_atomically(path, _in_order(safetensors.numpy.save(arrays, metadata)))

    @staticmethod
    def load(path: epath.PathLike) -> FittedRecycler:
        """Reads what `save` wrote.

        Raises:
          RecyclingError: not there, not such a file, or damaged.
        """
        from prompt_tuning_recycling.recyclers import registry

        try:
            data = as_path(path).read_bytes()
            arrays = safetensors.numpy.load(data)
            header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        except (OSError, safetensors.SafetensorError) as error:
            raise RecyclingError(
                f"cannot read the fitted recycler {path}: expected a safetensors file "
                f"that a recycler saved, found: {error}"
            ) from error
        metadata = header.get("__metadata__", {})
        if metadata.get("format") != _FORMAT:
            raise RecyclingError(
                f"{path} is a safetensors file, but not of a fitted recycler: expected "
                f"the format {_FORMAT!r}, found {metadata.get('format')!r}."
            )
        parameters = json.loads(metadata["parameters"])
        recycler = registry.make(metadata["recycler"], **parameters)
        return FittedRecycler(recycler, arrays, json.loads(metadata["diagnostics"]))


def _in_order(data: bytes) -> bytes:
    """Sorts a safetensors file's header, which the library writes in a random order:
    the same map is to be the same bytes.
    """
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.dumps(
        json.loads(data[8:start]), sort_keys=True, separators=(",", ":")
    ).encode()
    # The arrays begin at a multiple of eight bytes.
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + data[start:]


def _checked_embeddings(
    table: Shaped[np.ndarray, "words dim"], whose: str
) -> Float[np.ndarray, "words dim"]:
    if table.ndim != 2 or 0 in table.shape:
        raise RecyclingError(
            f"expected the {whose}'s embeddings as a matrix [words, width], found "
            f"shape {list(table.shape)}."
        )
    if len(table) < MIN_WORDS:
        raise RecyclingError(
            f"a recycler is fitted on at least {MIN_WORDS} words, found {len(table)}."
        )
    check_floating(table.dtype, f"the {whose}'s embeddings")
    table = table.astype(np.float64)
    finite = np.isfinite(table).all(axis=1)
    if not finite.all():
        raise RecyclingError(
            f"the {whose}'s embeddings have numbers that are not finite, first for "
            f"word {int(np.argmin(finite))} of those fitted on. Is the checkpoint "
            "sound?"
        )
    if (table == table[0]).all():
        raise RecyclingError(
            f"the {whose}'s embeddings are the same for all {len(table)} words, so "
            "there is nothing to learn. Is this the embedding table of a trained model?"
        )
    return table
