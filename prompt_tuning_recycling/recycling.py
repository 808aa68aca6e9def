"""`recycle_prompt` takes two models, a prompt, words and a recycler, and returns the
prompt for the target model with a record of how it was made. Given several source
models, each with its prompt, it returns the mean of what it makes from each.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence

import numpy as np
from etils import epath

from prompt_tuning_recycling import recyclers
from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.files import as_list
from prompt_tuning_recycling.models import Model, Origin, StoredArray, open_model
from prompt_tuning_recycling.prompts import Prompt, find_prompt, load_prompt
from prompt_tuning_recycling.records.recorder import Recorder, record_of_mean
from prompt_tuning_recycling.words import EmbeddedWords, Words, read_embeddings


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class RecycledPrompt(Prompt):
    """A prompt carried over to another model, float32 [length, target_dim].

    Its record says how it was made and how far to trust it (docs/provenance.md).

    Attributes:
      fit: what the recycler learned; its map can be saved and applied to other
        prompts. None for a mean, to which several maps contributed.
    """

    fit: recyclers.Fit | None


def recycle_prompt(
    source: Origin | Sequence[Origin],
    target: Origin,
    prompt: Origin | Sequence[Origin] | None = None,
    *,
    words: Words | None = None,
    recycler: str | recyclers.Recycler = "v2v-lin",
    prompt_name: str | None = None,
) -> RecycledPrompt:
    """Carries a prompt that was tuned on the source model over to the target model.

    Args:
      source: the model the prompt was tuned on: a path (see `open_model`), a model, or
        its embedding table [vocabulary, source_dim]; or an adapter, for the model that
        its description names, and for its prompt. A list of these means several
        models, of any widths; the result is the mean over them. If a model has another
        vocabulary than the target, and it is not beside the model, give the vocabulary
        to `open_model`.
      target: the model to recycle the prompt for, in any of the same forms.
      prompt: a path to a numpy file, an adapter or a checkpoint, an opened model, or an
        array [length, source_dim]; by default the prompt inside `source`. For several
        source models, a list: the prompt of each, in the same order and of the same
        length.
      words: the words to fit on; by default entries 1000 to 5000 of the package's
        English list for the T5 vocabulary.
      recycler: a recycler, or its name.
      prompt_name: the prompt's site or name in its checkpoint; see `find_prompt`.

    Raises:
      RecyclingError: an argument cannot be used; the message says which and why.
    """
    (recycled,) = recycle_in_ways(
        source, target, prompt, words=words, ways=[recycler], prompt_name=prompt_name
    )
    if isinstance(recycled, RecyclingError):
        raise recycled
    return recycled


def recycle_in_ways(
    source: Origin | Sequence[Origin],
    target: Origin,
    prompt: Origin | Sequence[Origin] | None = None,
    *,
    words: Words | None = None,
    ways: Sequence[str | recyclers.Recycler],
    prompt_name: str | None = None,
) -> list[RecycledPrompt | RecyclingError]:
    """Carries a prompt over by each of several recyclers, which share what is read.
    `ways` are the recyclers or their names; for the other arguments see
    `recycle_prompt`.

    Returns:
      The prompt that each recycler makes, or the error if it cannot be used.

    Raises:
      RecyclingError: an argument cannot be used by any recycler.
    """
    asked = [recyclers.make(recycler) for recycler in ways]
    words = words if words is not None else Words.from_list()
    sources = []
    for one, its_prompt in paired(source, prompt):
        model = open_model(one)
        prompt_from = model if its_prompt is one else open_model(its_prompt)
        # An adapter stands for the model that it was tuned on.
        sources.append((model.base, prompt_from))
    target = open_model(target)
    # All of them are checked before anything large is read.
    stored = [find_prompt(prompt_from, prompt_name) for _, prompt_from in sources]
    for (model, _), of_model in zip(sources, stored, strict=True):
        check_width(model, of_model)
    _check_equal_lengths(stored)
    pairs = [
        _Pair.read(model, target, prompt_from, words, prompt_name)
        for model, prompt_from in sources
    ]
    found: list[RecycledPrompt | RecyclingError] = []
    for recycler in asked:
        try:
            made = [pair.recycle(recycler) for pair in pairs]
            found.append(made[0] if len(made) == 1 else mean_prompt(made))
        except RecyclingError as error:
            found.append(error)
    return found


@dataclasses.dataclass(frozen=True)
class _Pair:
    """A prompt, and what was read of its model and of the target."""

    tuned: Prompt
    embedded: EmbeddedWords
    recorder: Recorder
    seconds: float

    @classmethod
    def read(
        cls,
        source: Model,
        target: Model,
        prompt_from: Model,
        words: Words,
        prompt_name: str | None,
    ) -> _Pair:
        started = time.monotonic()
        tuned = load_prompt(prompt_from, prompt_name)
        (embedded,) = read_embeddings(source, target, [words])
        seconds = time.monotonic() - started
        return cls(tuned, embedded, Recorder(embedded), seconds)

    def recycle(self, recycler: recyclers.Recycler) -> RecycledPrompt:
        started = time.monotonic()
        tuned = self.tuned
        fit = recycler.fit(*self.embedded.fitted)
        recycled = fit.map.apply(tuned.array)
        fitted = time.monotonic() - started
        record = self.recorder.of_prompt(
            self.recorder.of_fit(recycler, fit),
            tuned.array,
            tuned.record,
            recycled,
            fit.map,
        )
        seconds = {"read": round(self.seconds, 3), "fit_and_apply": round(fitted, 3)}
        record = {**record, "seconds": seconds}
        return RecycledPrompt(recycled, tuned.site, record, fit=fit)


def mean_prompt(prompts: Sequence[Prompt]) -> RecycledPrompt:
    """Returns the mean of prompts for one model, vector by vector, as float32.

    Args:
      prompts: at least one, of the same shape [length, dim] and at the same site, as
        `recycle_prompt` makes them from several source models.

    Raises:
      RecyclingError: there is none, or the shapes or the sites differ.
    """
    if len({(prompt.array.shape, prompt.site) for prompt in prompts}) != 1:
        found = ", ".join(f"{list(p.array.shape)} at {p.site}" for p in prompts)
        raise RecyclingError(
            "expected prompts of one shape at one site, of which to take the mean, "
            f"found {found or 'none'}."
        )
    arrays = np.stack([prompt.array.astype(np.float64) for prompt in prompts])
    mean = arrays.mean(axis=0).astype(np.float32)
    record = record_of_mean([prompt.record for prompt in prompts], mean)
    return RecycledPrompt(mean, prompts[0].site, record, fit=None)


def paired(
    source: Origin | Sequence[Origin], prompt: Origin | Sequence[Origin] | None
) -> list[tuple[Origin, Origin]]:
    """Returns each source model with its prompt, which is by default inside it.

    Raises:
      RecyclingError: there is no source model, or not one prompt for each.
    """
    sources = as_list(source)
    prompts = sources if prompt is None else as_list(prompt)
    if not sources:
        raise RecyclingError("expected a source model or several, found an empty list.")
    if len(sources) != len(prompts):
        raise RecyclingError(
            "expected one prompt for each source model, in the same order, found "
            f"{len(sources)} source models and {len(prompts)} prompts. List a model "
            "once for each of its prompts."
        )
    return list(zip(sources, prompts, strict=True))


def one_each(
    vocabularies: epath.PathLike | Sequence[epath.PathLike] | None, models: int
) -> list[epath.PathLike | None]:
    """Returns the vocabulary file of each source model, if any is given: one for all of
    them, or one for each.

    Raises:
      RecyclingError: there is another number of them.
    """
    given = [None] if vocabularies is None else as_list(vocabularies)
    if len(given) not in (1, models):
        raise RecyclingError(
            "expected one vocabulary for all source models, or one for each in the "
            f"same order, found {models} source models and {len(given)} vocabularies."
        )
    return given * models if len(given) == 1 else given


def check_width(source: Model, prompt: StoredArray) -> None:
    """Raises RecyclingError if a prompt and the source model differ in width."""
    table_shape = source.embeddings.shape
    if len(prompt.shape) == 2 and prompt.shape[1] != table_shape[1]:
        raise RecyclingError(
            f"the prompt {prompt.checkpoint.path} has width {prompt.shape[1]} (shape "
            f"{list(prompt.shape)}), but the source model {source.path} has embeddings "
            f"of width {table_shape[1]}. A prompt works only with the model it was "
            "tuned on: give that model as the source."
        )


def _check_equal_lengths(prompts: Sequence[StoredArray]) -> None:
    for prompt in prompts[1:]:
        if prompt.shape[:1] != prompts[0].shape[:1]:
            raise RecyclingError(
                "the mean of prompts needs prompts of one length, but "
                f"{prompts[0].checkpoint.path} has shape {list(prompts[0].shape)} and "
                f"{prompt.checkpoint.path} has shape {list(prompt.shape)}. Leave one "
                "of them out."
            )
