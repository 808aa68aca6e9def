"""What a sweep is: the JSON file of the paper's code, read and checked as a whole.

docs/sweeps.md describes the format.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

from etils import epath

from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.files import as_path
from prompt_tuning_recycling.files.json_files import parse_json, read_text
from prompt_tuning_recycling.recyclers import Recycler
from prompt_tuning_recycling.sweep import checks
from prompt_tuning_recycling.sweep.mistakes import Mistakes
from prompt_tuning_recycling.words import NUM_WORDS, WORD_OFFSET, Words

PROMPT_FILE = "encoder.prompt.prompt.prompt"
"""What prompt-tuning calls the exported prompt of an encoder-decoder."""

WAYWARD = "wayward"
"""The initialization whose recyclers are fitted on the pieces of its text."""


@dataclasses.dataclass(frozen=True)
class WordList:
    """Words of a list; see `Words.from_list`."""

    word_list_path: str | None = None
    num_words: int | None = NUM_WORDS
    word_offset: int = WORD_OFFSET

    def words(self) -> Words:
        """Reads the list."""
        return Words.from_list(self.word_list_path, self.num_words, self.word_offset)


@dataclasses.dataclass(frozen=True)
class WordsOfText:
    """The pieces of a text; see `Words.from_text`."""

    string: str
    vocab_file: str

    def words(self) -> Words:
        """Cuts the text into pieces."""
        return Words.from_text(self.string, self.vocab_file)


@dataclasses.dataclass(frozen=True)
class Method:
    """One of the ways in which every prompt is recycled.

    Attributes:
      name: what the configuration calls it, and its folder.
      recycler: the recycler.
      word_list: the words that it is fitted on, wayward prompts aside.
    """

    name: str
    recycler: Recycler
    word_list: WordList


@dataclasses.dataclass(frozen=True)
class Baselines:
    """What recycled prompts are compared with on each target.

    Attributes:
      no_prompt: whether to evaluate the model without any prompt.
      random_prompts: how many prompts that know of no task.
      untuned_step: the step at which a tuning run exported its prompt before the first
        update; None where there is no such export.
    """

    no_prompt: bool = True
    random_prompts: int = 10
    untuned_step: int | None = None


@dataclasses.dataclass(frozen=True)
class Configuration:
    """A sweep.

    Attributes:
      path, text: the file, and what it says.
      root_dir: everything is written below it.
      dataset: the name of what the prompts were tuned for, part of paths.
      task_name: the seqio task whose metrics are collected.
      clobber: whether what is there already is done again.
      steps: of the source's tuning, at which to recycle; None for all there are.
      skips: pairs of source and target that are left out.
      methods: how to recycle.
      wayward_words: what `wayward` prompts are recycled with.
      pretrained: name of a model -> its checkpoint.
      prompts: model -> initialization -> run -> MODEL_DIR of the tuning.
      prompt_file: the name of an exported prompt.
      embedding: the embedding table's name in the checkpoints, where it is not the
        usual one.
      baselines: what to compare with.
    """

    path: str
    text: str
    root_dir: str
    dataset: str
    task_name: str
    clobber: bool
    steps: tuple[int, ...] | None
    skips: frozenset[tuple[str, str]]
    methods: tuple[Method, ...]
    wayward_words: WordsOfText | None
    pretrained: Mapping[str, str]
    prompts: Mapping[str, Mapping[str, Mapping[str, str]]]
    prompt_file: str = PROMPT_FILE
    embedding: str | None = None
    baselines: Baselines = Baselines()

    @property
    def inits(self) -> tuple[str, ...]:
        """The initializations, which are the same for every model."""
        return tuple(next(iter(self.prompts.values())))

    @property
    def runs(self) -> tuple[str, ...]:
        """The runs, which are the same for every model and initialization."""
        return tuple(next(iter(next(iter(self.prompts.values())).values())))

    def pairs(self) -> list[tuple[str, str]]:
        """Returns every source and target, in the file's order."""
        return [
            (source, target)
            for source in self.pretrained
            for target in self.pretrained
            if source != target and (source, target) not in self.skips
        ]

    def words_of(self, method: Method, init: str) -> WordList | WordsOfText:
        """Returns the words with which prompts of an initialization are recycled."""
        if init == WAYWARD and self.wayward_words is not None:
            return self.wayward_words
        return method.word_list


def load(path: epath.PathLike, *, check_words: bool = False) -> Configuration:
    """Reads and checks a configuration.

    Args:
      path: the JSON file.
      check_words: whether word lists and vocabularies are read, too, to see that they
        can be.

    Raises:
      RecyclingError: there is no such file, it is no JSON, or it has mistakes; each of
        them was logged, with its place.
    """
    path = os.fspath(path)
    text = read_text(path, "the configuration")
    # A key that stands twice is a mistake like the others, with its line.
    content = parse_json(text, f"the configuration {path}", keys_once=False)
    mistakes = Mistakes(path, text)
    checks.check(content, mistakes)
    mistakes.report()
    made = _made(path, text, content)
    if check_words:
        _check_words(made, mistakes)
        mistakes.report()
    return made


def _made(path: str, text: str, content: Mapping[str, Any]) -> Configuration:
    by_list = content["load_embeddings"].get("default", {})
    by_text = content["load_embeddings"].get("from_string")
    steps = content.get("steps")
    return Configuration(
        path=path,
        text=text,
        root_dir=_in_home_folders(content["root_dir"]),
        dataset=content["dataset"],
        task_name=content["task_name"],
        clobber=content.get("clobber", False),
        steps=None if steps is None else tuple(sorted(steps)),
        skips=frozenset(map(tuple, content.get("combination_skips") or ())),
        methods=tuple(
            Method(
                name,
                checks.recycler(name, entry),
                WordList(**{**by_list, **entry.get("load_embeddings", {})}),
            )
            for name, entry in content["recycling_methods"].items()
        ),
        wayward_words=by_text and WordsOfText(by_text["string"], by_text["vocab_file"]),
        pretrained=_in_home_folders(content["pretrained"]),
        prompts=_in_home_folders(content["prompts"]),
        prompt_file=content.get("prompt_file", PROMPT_FILE),
        embedding=content.get("embedding_name"),
        baselines=Baselines(**content.get("baselines", {})),
    )


def _in_home_folders(paths: Any) -> Any:
    """A path, or an object of them, with each `~` expanded that one begins with: they
    are joined, written to lists and compared as they are.
    """
    if isinstance(paths, Mapping):
        return {name: _in_home_folders(inner) for name, inner in paths.items()}
    return os.fspath(as_path(paths)) if paths.startswith("~") else paths


def _check_words(made: Configuration, mistakes: Mistakes) -> None:
    for method in made.methods:
        try:
            method.word_list.words()
        except RecyclingError as error:
            mistakes.add(("recycling_methods", method.name), str(error))
    if WAYWARD in made.inits and made.wayward_words is not None:
        try:
            made.wayward_words.words()
        except RecyclingError as error:
            mistakes.add(("load_embeddings", "from_string"), str(error))
