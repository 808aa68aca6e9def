"""Initial prompts that were tuned before, on another model or on this one."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from etils import epath

from prompt_tuning_recycling import recyclers
from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.files import canonical
from prompt_tuning_recycling.initial_prompts.base import (
    InitialPrompt,
    checkpoint_changes,
    made,
)
from prompt_tuning_recycling.models import Model, StoredArray, open_model
from prompt_tuning_recycling.models.layouts import SingleArray
from prompt_tuning_recycling.prompts import Prompt, find_prompt, load_prompt
from prompt_tuning_recycling.recycling import one_each, paired, recycle_in_ways
from prompt_tuning_recycling.words import NUM_WORDS, WORD_OFFSET, Words, lists

_NOTHING = (
    "there is nothing to recycle: RECYCLE_FROM is not set. Expected the checkpoint of "
    "the source model with its tuned prompt, as in "
    "--gin.RECYCLE_FROM=\"'/models/source/checkpoint_1000'\"."
)


@dataclasses.dataclass(frozen=True)
class Recycled(InitialPrompt):
    """A prompt that was tuned on another model and is recycled; see `recycle_prompt`.

    Attributes:
      source_checkpoint: the model that the prompt was tuned on; a list of several for
        the mean of what is recycled from each.
      source_prompt: a checkpoint, an adapter or a numpy file that holds the prompt, or
        a list of them, one for each model in the same order; None for
        `source_checkpoint`.
      target_checkpoint: the checkpoint to read the target's embeddings from; None for
        the one that the run starts from.
      recycler: a recycler, or its name.
      word_list: a JSON word list; None for the package's English one.
      num_words: how many of its words to fit on; None for all; "auto" for 4000, or all
        if the source model is wide (see `Words.from_list`).
      word_offset: how many of its words to skip first.
      source_vocabulary: the source's vocabulary file, if it is not beside the model; of
        several sources, a list of one for each, or one for all. See `open_model`.
      target_vocabulary: the target's.
      allow_few_words: whether models of different vocabularies may have only few of the
        words in common; see `Words`.
      source_embedding_name, target_embedding_name: the names of the embedding tables in
        the checkpoints, if they are not the usual ones; see `open_model`.
      prompt_name: the prompt's site or name in its checkpoint; see `find_prompt`.
      prompt_task: which task's prompt to take, of an adapter whose prompt several tasks
        share.
    """

    kept_in = "recycled_prompt"
    _places = ("source_checkpoint", "source_prompt", "target_checkpoint")
    _files = ("word_list", "source_vocabulary", "target_vocabulary")
    _names = (
        "source_vocabulary",
        "target_vocabulary",
        "source_embedding_name",
        "target_embedding_name",
        "prompt_name",
        "prompt_task",
    )

    source_checkpoint: epath.PathLike | Sequence[epath.PathLike] | None = None
    source_prompt: epath.PathLike | Sequence[epath.PathLike] | None = None
    target_checkpoint: epath.PathLike | None = None
    recycler: str | recyclers.Recycler = recyclers.VocabToVocabLinear.name
    word_list: epath.PathLike | None = None
    num_words: int | Literal["auto"] | None = NUM_WORDS
    word_offset: int = WORD_OFFSET
    source_vocabulary: epath.PathLike | Sequence[epath.PathLike] | None = None
    target_vocabulary: epath.PathLike | None = None
    allow_few_words: bool = False
    source_embedding_name: str | None = None
    target_embedding_name: str | None = None
    prompt_name: str | None = None
    prompt_task: int | None = None

    def sources(self) -> list[tuple[epath.PathLike, epath.PathLike]]:
        """Returns each source model with what holds its prompt."""
        if self.source_checkpoint is None:
            raise RecyclingError(_NOTHING)
        return paired(self.source_checkpoint, self.source_prompt)

    def _source_models(self) -> Iterator[Model]:
        sources = self.sources()
        for (path, _), vocabulary in zip(
            sources, one_each(self.source_vocabulary, len(sources)), strict=True
        ):
            yield open_model(
                path,
                embedding_name=self.source_embedding_name,
                vocabulary=vocabulary,
            )

    def target(self, started_from: Model) -> Model:
        """Returns the model whose embeddings are read."""
        name, vocabulary = self.target_embedding_name, self.target_vocabulary
        named = started_from
        if name is not None:
            named = dataclasses.replace(named, embedding_name=name)
        if vocabulary is not None:
            named = dataclasses.replace(named, vocabulary_file=vocabulary)
        if self.target_checkpoint is None:
            return named
        # A MODEL_DIR may hold a newer step than the one that the run starts from.
        step = started_from.path
        if canonical(self.target_checkpoint) in (
            canonical(step),
            canonical(step.parent),
        ):
            return named
        return open_model(
            self.target_checkpoint, embedding_name=name, vocabulary=vocabulary
        )

    def of_other_vocabularies(self, target: Model) -> list[Model]:
        """Returns the source models that are known to have another vocabulary than the
        target.

        Args:
          target: the model that the run starts from.
        """
        its = self.target(target).vocabulary
        return [
            source
            for source in (opened.base for opened in self._source_models())
            if its and source.vocabulary and not source.vocabulary.is_same(its)
        ]

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
        if not self.allow_few_words:
            del declared["allow_few_words"]
        return declared

    def changes(self, record: Mapping[str, Any], target: Model) -> list[str]:
        records = record.get("mean_of", [record])
        found = []
        for (source, prompt), then in zip(self.sources(), records, strict=True):
            found += checkpoint_changes("the source model", then["source"], source)
            found += checkpoint_changes("the tuned prompt", then["prompt"], prompt)
        # A source that is gone ends the loop, as it has not changed.
        with contextlib.suppress(RecyclingError):
            for model, then in zip(self._source_models(), records, strict=True):
                found += _vocabulary_changes("source", then["words"], model.base)
        now = self.target(target)
        found += checkpoint_changes("the target model", records[0]["target"], now)
        found += _vocabulary_changes("target", records[0]["words"], now)
        with contextlib.suppress(RecyclingError):
            _, digest = lists.load(self.word_list)
            if digest != records[0]["words"]["word_list_sha256"]:
                found.append("the word list has other words")
        return list(dict.fromkeys(found))

    def make(self, target: Model, length: int, site: str | None = None) -> Prompt:
        (made,) = self.make_in_ways([self.recycler], target, length, site)
        if isinstance(made, RecyclingError):
            raise made
        return made

    def make_in_ways(
        self,
        ways: Sequence[str | recyclers.Recycler],
        target: Model,
        length: int,
        site: str | None = None,
    ) -> list[Prompt | RecyclingError]:
        """Makes the prompt by each of several recyclers instead of its own. `ways` are
        the recyclers or their names; for the other arguments see `make`.

        Returns:
          The prompt of each recycler, or the error if it cannot be used.

        Raises:
          RecyclingError: no recycler can make the prompt.
        """
        sources, prompts = [], []
        for source, (path, holds_prompt) in zip(
            self._source_models(), self.sources(), strict=True
        ):
            sources.append(source.base)
            same = holds_prompt == path and self.prompt_task is None
            prompts.append(
                source if same else open_model(holds_prompt, task=self.prompt_task)
            )
        target = self.target(target)
        # Checked before anything large is read.
        for prompt in prompts:
            shape = _find(prompt, site, self.prompt_name).shape
            if len(shape) == 2:
                _check_length(shape[0], length, f"the prompt of {prompt.path}")
        asked = [recyclers.make(one) for one in ways]
        recycled = recycle_in_ways(
            sources,
            target,
            prompts,
            words=Words.from_list(
                self.word_list,
                self.num_words,
                self.word_offset,
                allow_few=self.allow_few_words,
            ),
            ways=asked,
            prompt_name=site or self.prompt_name,
        )
        return [
            one
            if isinstance(one, RecyclingError)
            else dataclasses.replace(
                one,
                record={
                    **one.record,
                    "declared": dataclasses.replace(self, recycler=way).declared(),
                },
            )
            for way, one in zip(asked, recycled, strict=True)
        ]


def _vocabulary_changes(role: str, words: Mapping[str, Any], now: Model) -> list[str]:
    """Returns how a model's vocabulary differs from what a record says was used."""
    then = words.get(f"{role}_vocabulary")
    with contextlib.suppress(RecyclingError):
        if then and now.vocabulary and now.vocabulary.sha256 != then["sha256"]:
            return [f"the {role}'s vocabulary {now.vocabulary.path} is another one"]
    return []


@dataclasses.dataclass(frozen=True)
class FromFile(InitialPrompt):
    """A prompt from a numpy file, an adapter or a checkpoint, unchanged.

    Attributes:
      path: the numpy file, or the adapter or checkpoint that holds the prompt.
      prompt_name: the prompt's site or name in the checkpoint; see `find_prompt`.
      prompt_task: which task's prompt to take, of an adapter whose prompt several tasks
        share.
    """

    path: epath.PathLike
    prompt_name: str | None = None
    prompt_task: int | None = None

    _places = ("path",)
    _names = ("prompt_name", "prompt_task")

    def make(self, target: Model, length: int, site: str | None = None) -> Prompt:
        model = open_model(self.path, task=self.prompt_task)
        name = _find(model, site, self.prompt_name).name
        array = load_prompt(model, name).array.astype(np.float32)
        _check_length(len(array), length, f"the prompt {self.path}")
        # A table of another name does not matter here: hosts compare the shapes, too.
        width = target.embeddings.shape[1] if target.has_embeddings else None
        if width is not None and array.shape[1] != width:
            raise RecyclingError(
                f"the prompt {self.path} has width {array.shape[1]}, but the model "
                f"{target.path} has width {width}. A prompt works only with the model "
                "it was tuned on: to carry it over to another one, recycle it."
            )
        return made(array, site, {"path": str(self.path)})


def _find(model: Model, site: str | None, name: str | None) -> StoredArray:
    """Returns the prompt of `model` to use at `site`, or the one with that name."""
    if site is None:
        return find_prompt(model, name)
    if name is not None:
        raise RecyclingError(
            f"PROMPT_NAME: the model has several prompts, but {name!r} names one. "
            "Leave it out: each prompt starts from the one at the same site."
        )
    if isinstance(model.layout, SingleArray) or site not in model.prompts:
        raise RecyclingError(
            "the model has several prompts, and each one starts from the prompt at the "
            f"same site, but {model.path} has none at {site}. Give a checkpoint that "
            "was tuned on a model with the same prompts."
        )
    return model.prompts[site]


def _check_length(found: int, expected: int, where: str) -> None:
    if found != expected:
        raise RecyclingError(
            f"{where} has {found} vectors, but the model expects {expected} "
            f"(PROMPT_LENGTH). Set --gin.PROMPT_LENGTH={found}."
        )
