"""What a prompt starts from, declared in gin, for every host.

`recycle_init.gin` and `prompts/*.gin` bind one of these classes to
`initial_prompts.initial_prompt.kind`; the host asks for it with `initial_prompt()`
and makes the prompt once, outside of any trace (`run_folder.make_prompts`).
"""

from __future__ import annotations

import abc
import contextlib
import dataclasses
import logging
import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import gin
import numpy as np
from etils import epath

from prompt_tuning_recycling import recyclers
from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.files import canonical
from prompt_tuning_recycling.models import Model, StoredArray, open_model
from prompt_tuning_recycling.models.layouts import SingleArray
from prompt_tuning_recycling.models.vocabularies import load_vocabulary, table_sizes
from prompt_tuning_recycling.prompts.prompt import Prompt, find_prompt, load_prompt
from prompt_tuning_recycling.recycling import recycle_prompt
from prompt_tuning_recycling.words import NUM_WORDS, WORD_OFFSET, Words
from prompt_tuning_recycling.words.words import of_another_vocabulary

if TYPE_CHECKING:
    from jaxtyping import Float

logger = logging.getLogger(__name__)

_MODULE = "prompt_tuning_recycling.prompts.initial_prompts"

# Upstream's recyclers and samples leave the padded tail of the table alone; pieces
# beyond this rank are rare words, fragments and characters.
_POPULATION = 5000


@dataclasses.dataclass(frozen=True)
class InitialPrompt(abc.ABC):
    """Where a prompt's first values come from. Subclasses are frozen dataclasses;
    their fields are their gin parameters.
    """

    # Fields that are paths: of checkpoints and prompts, and of other files.
    _places: ClassVar[tuple[str, ...]] = ()
    _files: ClassVar[tuple[str, ...]] = ()

    @abc.abstractmethod
    def make(self, target: Model, length: int, site: str | None = None) -> Prompt:
        """Returns a prompt for the target model, float32, whose record says how it came
        about.

        Args:
          target: the model that the prompt is for.
          length: how many vectors the model expects, `PROMPT_LENGTH`.
          site: the prompt's site in a model that has several prompts, each of which is
            made by itself; None for the only one.

        Raises:
          RecyclingError: it cannot be made, or has another shape than the model
            expects.
        """

    def declared(self) -> dict[str, Any]:
        """What was asked for, JSON-compatible: equal for runs that want the same,
        however their paths are spelled.
        """
        fields = {
            field.name: getattr(self, field.name) for field in dataclasses.fields(self)
        }
        for names, plain in ((self._places, place), (self._files, canonical)):
            for name in names:
                if fields[name] is not None:
                    fields[name] = plain(fields[name])
        for name, value in fields.items():
            if isinstance(value, (list, tuple)):
                fields[name] = list(value)
        return {"kind": type(self).__name__, **fields}


@gin.configurable(module=_MODULE)
def initial_prompt(kind: InitialPrompt | None = None) -> InitialPrompt | None:
    """Returns the kind of initial prompt that the gin files declare, or None."""
    if kind is not None and not isinstance(kind, InitialPrompt):
        raise RecyclingError(
            "initial_prompts.initial_prompt.kind: expected one of initial_prompts' "
            f"classes, as in @initial_prompts.Recycled(), found {kind!r}."
        )
    return kind


def place(path: epath.PathLike) -> dict[str, str]:
    """A checkpoint's or a prompt's path, and the step that is meant where it is a
    `MODEL_DIR`: two paths are to the same if they have one of the two in common.
    """
    found = {"path": canonical(path)}
    # It may be gone by now, or wrong: whoever reads it says so.
    with contextlib.suppress(RecyclingError):
        found["resolved"] = canonical(open_model(path).path)
    return found


@gin.register(module=_MODULE)
@dataclasses.dataclass(frozen=True)
class Recycled(InitialPrompt):
    """A prompt tuned on another model, recycled: see `recycle_prompt`.

    Attributes:
      source_checkpoint: the model the prompt was tuned on.
      source_prompt: the prompt: a checkpoint that holds it, or a numpy file.
      target_checkpoint: where the target's embeddings are read; None for the
        checkpoint that the run starts from.
      recycler: a recycler, or its name.
      word_list: JSON word list; None for the package's English one.
      num_words: how many of its words to fit on; None for all.
      word_offset: how many to skip first.
    """

    _places = ("source_checkpoint", "source_prompt", "target_checkpoint")
    _files = ("word_list",)

    source_checkpoint: epath.PathLike | None = None
    source_prompt: epath.PathLike | None = None
    target_checkpoint: epath.PathLike | None = None
    recycler: str | recyclers.Recycler = recyclers.VocabToVocabLinear.name
    word_list: epath.PathLike | None = None
    num_words: int | None = NUM_WORDS
    word_offset: int = WORD_OFFSET

    def declared(self) -> dict[str, Any]:
        recycler = recyclers.make(self.recycler)
        declared = super().declared()
        declared["source_prompt"] = (
            declared["source_prompt"] or declared["source_checkpoint"]
        )
        declared["recycler"] = {
            "name": recycler.name,
            "parameters": recycler.parameters(),
        }
        return declared

    def make(self, target: Model, length: int, site: str | None = None) -> Prompt:
        if self.source_checkpoint is None:
            raise RecyclingError(
                "there is nothing to recycle: RECYCLE_FROM is not set. Expected the "
                "checkpoint of the source model with its tuned prompt, as in "
                "--gin.RECYCLE_FROM=\"'/models/source/checkpoint_1000'\"."
            )
        source = open_model(self.source_checkpoint)
        if self.source_prompt in (None, self.source_checkpoint):
            prompt = source
        else:
            prompt = open_model(self.source_prompt)
        if self.target_checkpoint is not None:
            target = open_model(self.target_checkpoint)
        # Before anything large is read.
        stored = _find(prompt, site)
        if len(stored.shape) == 2:
            _check_length(stored.shape[0], length, f"the prompt of {prompt.path}")
        recycled = recycle_prompt(
            source,
            target,
            prompt,
            words=Words.from_list(self.word_list, self.num_words, self.word_offset),
            recycler=self.recycler,
            prompt_name=stored.name,
        )
        record = {**recycled.record, "declared": self.declared()}
        return dataclasses.replace(recycled, record=record)


@gin.register(module=_MODULE)
@dataclasses.dataclass(frozen=True)
class FromFile(InitialPrompt):
    """A prompt as it is, from a numpy file or a checkpoint.

    Attributes:
      path: the numpy file, or the checkpoint that holds the prompt.
    """

    path: epath.PathLike

    _places = ("path",)

    def make(self, target: Model, length: int, site: str | None = None) -> Prompt:
        model = open_model(self.path)
        array = load_prompt(model, _find(model, site).name).array.astype(np.float32)
        _check_length(len(array), length, f"the prompt {self.path}")
        width = target.embeddings.shape[1]
        if array.shape[1] != width:
            raise RecyclingError(
                f"the prompt {self.path} has width {array.shape[1]}, but the model "
                f"{target.path} has width {width}. A prompt works only with the model "
                "it was tuned on: to carry it over to another one, recycle it."
            )
        return _made(array, site, {"path": str(self.path)})


@gin.register(module=_MODULE)
@dataclasses.dataclass(frozen=True)
class RandomUniform(InitialPrompt):
    """Numbers drawn evenly from [-scale, scale) (Lester et al. 2021: 0.5).

    Attributes:
      scale: the largest magnitude.
      seed: of the drawing.
    """

    scale: float = 0.5
    seed: int = 0

    def make(self, target: Model, length: int, site: str | None = None) -> Prompt:
        shape = (length, target.embeddings.shape[1])
        drawn = _random(self.seed, site).uniform(-self.scale, self.scale, shape)
        return _made(drawn, site, dataclasses.asdict(self))


@gin.register(module=_MODULE)
@dataclasses.dataclass(frozen=True)
class SampledVocabulary(InitialPrompt):
    """Embeddings of pieces drawn from the vocabulary (Lester et al. 2021, §3.2).

    Attributes:
      population_size: draws come from this many pieces at the vocabulary's beginning,
        which are its most frequent ones.
      first: index of the first of them; those before are special, such as padding.
      exclude: vocabulary indices never to draw, such as those of the labels.
      seed: of the drawing.
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
                f"{end} of a vocabulary of {size}, without {len(self.exclude)} "
                "excluded ones. Raise population_size or exclude fewer."
            )
        replace = len(population) < length
        rows = _random(self.seed, site).choice(population, length, replace)
        record = {"rows": rows.tolist(), "seed": self.seed}
        return _made(target.embeddings.take(rows), site, record)


@gin.register(module=_MODULE)
@dataclasses.dataclass(frozen=True)
class FromText(InitialPrompt):
    """Embeddings of the pieces of texts, such as the class labels (Lester et al.
    2021, §3.2): one vector for each text, the mean of its pieces; what is left of the
    prompt is sampled from the vocabulary.

    Attributes:
      texts: the texts; as many as the prompt has vectors are used.
      vocabulary: the model's SentencePiece file; None for the one beside the model.
      seed: of the sampling.
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
                "expected texts to begin the prompt with, each of one piece or more, "
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
            table_sizes(vocabulary), size, str(target.path)
        ):
            logger.warning("warning: %s", foreign)
            record["warnings"] = [foreign]
        rest = length - len(vectors)
        if rest:
            sample = SampledVocabulary(seed=self.seed).make(target, rest, site)
            vectors = np.concatenate([vectors, sample.array])
        return _made(vectors, site, record)

    def _vocabulary(self, target: Model) -> Any:
        if self.vocabulary is not None:
            return load_vocabulary(self.vocabulary)
        if target.vocabulary is None:
            raise RecyclingError(
                f"there is no vocabulary beside {target.path} to find the texts' "
                "pieces in. Give its SentencePiece file, as VOCABULARY_FILE."
            )
        return target.vocabulary


def _made(
    array: Float[np.ndarray, "length width"], site: str | None, record: Any
) -> Prompt:
    return Prompt(array.astype(np.float32), site or "encoder", record)


def _find(model: Model, site: str | None) -> StoredArray:
    """The prompt of a model that becomes the one at `site`."""
    if site is None:
        return find_prompt(model)
    if isinstance(model.layout, SingleArray) or site not in model.prompts:
        raise RecyclingError(
            "the model has several prompts, and each of them starts from its own; "
            f"{model.path} has none for {site}. Give a checkpoint that was tuned on a "
            "model with the same prompts."
        )
    return model.prompts[site]


def _random(seed: int, site: str | None) -> np.random.Generator:
    """Other numbers for each of a model's prompts."""
    if site is None:
        return np.random.default_rng(seed)
    return np.random.default_rng([seed, zlib.crc32(site.encode())])


def _check_length(found: int, expected: int, where: str) -> None:
    if found != expected:
        raise RecyclingError(
            f"{where} has {found} vectors, but the model expects {expected} "
            f"(PROMPT_LENGTH). Set --gin.PROMPT_LENGTH={found}."
        )
