"""A sweep's configuration: the JSON file of the paper's code, read and checked.

docs/sweeps.md describes the format.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import pydantic
from etils import epath
from pydantic import AfterValidator, Field

from prompt_tuning_recycling import recyclers
from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.evaluation.scores_file import Drawing
from prompt_tuning_recycling.files import as_path
from prompt_tuning_recycling.files.json_files import parse_json, read_text
from prompt_tuning_recycling.models.vocabularies import Vocabulary
from prompt_tuning_recycling.sweep import checks
from prompt_tuning_recycling.sweep.mistakes import Mistake, Mistakes, in_words
from prompt_tuning_recycling.words import NUM_WORDS, WORD_OFFSET, Words

PROMPT_FILE = "encoder.prompt.prompt.prompt"
"""The name that prompt-tuning gives the exported prompt of an encoder-decoder."""

WAYWARD = "wayward"
"""The initialization whose maps are fitted on the pieces of its text."""

# What a name must not contain if it is to be part of a path.
_UNFIT = re.compile(r'[/\\:*?"<>|\x00-\x1f]|^\.{1,2}$')


def _filled_in(text: str) -> str:
    if text == "...":
        raise RecyclingError('this is still the placeholder "..."; fill it in.')
    if not text.strip():
        raise RecyclingError("this is empty.")
    if "\0" in text:
        raise RecyclingError("a NUL character cannot be part of this.")
    return text


def _part_of_a_path(name: str) -> str:
    if _UNFIT.search(name):
        raise RecyclingError(
            f"{name!r} cannot be part of a file name. Use letters, digits, spaces, "
            "and any of - _ + . ,"
        )
    return name


def _in_home_folder(path: str) -> str:
    """Expands `~` now, since paths are later joined, listed and compared unchanged."""
    return os.fspath(as_path(path)) if path.startswith("~") else path


def _number_of_words(number: Any) -> Any:
    is_count = isinstance(number, int) and not isinstance(number, bool) and number >= 0
    if not is_count and number not in (None, "auto"):
        raise RecyclingError(
            'expected a whole number, "auto", or null for all words, found '
            f"{json.dumps(number)}."
        )
    return number


_Text = Annotated[str, AfterValidator(_filled_in)]
_Name = Annotated[_Text, AfterValidator(_part_of_a_path)]
_Path = Annotated[_Text, AfterValidator(_in_home_folder)]
_Count = Annotated[int, Field(ge=0)]


class _Settings(pydantic.BaseModel):
    """An object in the file."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, strict=True)


class WordList(_Settings):
    """Words from a list; see `Words.from_list`."""

    word_list_path: _Text | None = None
    num_words: Annotated[Any, AfterValidator(_number_of_words)] = NUM_WORDS
    word_offset: _Count = WORD_OFFSET
    allow_few_words: bool = False

    def words(self) -> Words:
        """Reads the list."""
        return Words.from_list(
            self.word_list_path,
            self.num_words,
            self.word_offset,
            allow_few=self.allow_few_words,
        )


class WordsOfText(_Settings):
    """The pieces of a text; see `Words.from_text`."""

    string: _Text
    vocab_file: _Text
    allow_few_words: bool = False
    # The paper's code names the embedding table here; it must be `embedding_name`.
    variable_path: _Text = Field("", repr=False)

    def words(self) -> Words:
        """Cuts the text into pieces."""
        return Words.from_text(
            self.string, self.vocab_file, allow_few=self.allow_few_words
        )


class Baselines(_Settings):
    """The baselines that recycled prompts are compared with on each target.

    Attributes:
      no_prompt: whether to evaluate the model without any prompt.
      random_prompts: how many random prompts to evaluate.
      untuned_step: the step at which a tuning run exported its prompt before the first
        update; None if there is no such export.
    """

    no_prompt: bool = True
    random_prompts: _Count = 10
    untuned_step: _Count | None = None


@dataclasses.dataclass(frozen=True)
class Method:
    """One of the methods by which every prompt is recycled.

    Attributes:
      name: its name in the configuration, and the name of its folder.
      recycler: the recycler.
      word_list: the words that its maps are fitted on, except for wayward prompts.
      skips: pairs of source and target that only this method leaves out.
    """

    name: str
    recycler: recyclers.Recycler
    word_list: WordList
    skips: frozenset[tuple[str, str]] = frozenset()


@dataclasses.dataclass(frozen=True)
class Choice:
    """A method that recycles nothing itself, but chooses among what others recycled, by
    the prompts' scores on unlabeled inputs.

    Attributes:
      name: its name in the configuration, and the name of its folder.
      candidates: the names of the methods that it chooses among.
      teacher: whether the source model with its own prompt judges the answers.
      drawing: how the inputs are drawn.
    """

    name: str
    candidates: tuple[str, ...]
    teacher: bool
    drawing: Drawing


@dataclasses.dataclass(frozen=True)
class Configuration:
    """A sweep.

    Attributes:
      path, text: the file and its content.
      root_dir: the folder that holds all outputs.
      dataset: the dataset that the prompts were tuned for; its name is part of paths.
      task_name: the seqio task whose metrics are collected.
      clobber: whether to make existing outputs again.
      steps: the steps of the source's tuning whose prompts to recycle; None for all
        exported steps.
      skips: pairs of source and target to leave out.
      methods: how to recycle.
      choices: how to choose among what was recycled.
      method_names: the names of methods and choices in the file's order.
      wayward_words: the words that maps for `wayward` prompts are fitted on.
      pretrained: name of a model -> its checkpoint.
      vocabularies: name of a model -> its vocabulary file, for those whose vocabulary
        is not beside the checkpoint.
      prompts: model -> initialization -> run -> MODEL_DIR of the tuning.
      prompt_file: the file name of an exported prompt.
      embedding: the embedding table's name in the checkpoints, if it is not the usual
        one.
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
    vocabularies: Mapping[str, str] = dataclasses.field(default_factory=dict)
    prompt_file: str = PROMPT_FILE
    embedding: str | None = None
    baselines: Baselines = dataclasses.field(default_factory=Baselines)
    choices: tuple[Choice, ...] = ()
    method_names: tuple[str, ...] = ()

    @property
    def drawings(self) -> tuple[Drawing, ...]:
        """How the choices' unlabeled inputs are drawn, each way once."""
        return tuple(dict.fromkeys(choice.drawing for choice in self.choices))

    @property
    def inits(self) -> tuple[str, ...]:
        """The initializations, the same for every model."""
        return tuple(next(iter(self.prompts.values())))

    @property
    def runs(self) -> tuple[str, ...]:
        """The runs, the same for every model and initialization."""
        return tuple(next(iter(next(iter(self.prompts.values())).values())))

    def pairs(self) -> list[tuple[str, str]]:
        """Returns every pair of source and target, in the file's order."""
        return [
            (source, target)
            for source in self.pretrained
            for target in self.pretrained
            if source != target and (source, target) not in self.skips
        ]

    def words_of(self, method: Method, init: str) -> WordList | WordsOfText:
        """Returns the words that maps for an initialization's prompts are fitted on."""
        if init == WAYWARD and self.wayward_words is not None:
            return self.wayward_words
        return method.word_list


class _LoadEmbeddings(_Settings):
    default: WordList = WordList()
    from_string: WordsOfText | None = None


class _Choose(_Settings):
    candidates: list[str] | None = None
    teacher: bool = True
    inputs: Annotated[int, Field(ge=1)] = Drawing.inputs
    split: _Name = Drawing.split
    seed: _Count = Drawing.seed


class _Method(_Settings):
    recycler: str = ""
    init: dict[str, Any] = Field({}, alias="__init__")
    fit: dict[str, Any] = {}
    load_embeddings: WordList = WordList()
    combination_skips: list[Any] | None = None
    # A method with this chooses among the others; it has none of the above.
    choose: _Choose | None = None


class _File(_Settings):
    """The JSON file, in the format of the paper's code."""

    root_dir: _Path
    dataset: _Name
    task_name: _Text
    clobber: bool = False
    steps: list[_Count] | None = None
    combination_skips: list[Any] | None = None
    load_embeddings: _LoadEmbeddings
    recycling_methods: dict[_Name, _Method]
    pretrained: dict[_Name, _Path]
    vocabularies: dict[_Name, _Path] = {}
    prompts: dict[str, dict[_Name, dict[_Name, _Path]]]
    prompt_file: _Name = PROMPT_FILE
    embedding_name: _Text | None = None
    baselines: Baselines = Baselines()

    def configuration(self, path: str, text: str) -> Configuration:
        """Returns the configuration that the file describes."""
        words = self.load_embeddings
        methods, choices = [], []
        recycling = [n for n, one in self.recycling_methods.items() if not one.choose]
        for name, method in self.recycling_methods.items():
            if method.choose is not None:
                asked = method.choose
                drawing = Drawing(asked.inputs, asked.split, asked.seed)
                candidates = tuple(asked.candidates or recycling)
                choices.append(Choice(name, candidates, asked.teacher, drawing))
                continue
            parameters = {**method.init, **method.fit}
            recycler = recyclers.make(method.recycler or name, **parameters)
            of_its_own = method.load_embeddings.model_dump(exclude_unset=True)
            word_list = words.default.model_copy(update=of_its_own)
            skips = _pairs(method.combination_skips)
            methods.append(Method(name, recycler, word_list, skips))
        return Configuration(
            path=path,
            text=text,
            root_dir=self.root_dir,
            dataset=self.dataset,
            task_name=self.task_name,
            clobber=self.clobber,
            steps=None if self.steps is None else tuple(sorted(self.steps)),
            skips=_pairs(self.combination_skips),
            methods=tuple(methods),
            choices=tuple(choices),
            method_names=tuple(self.recycling_methods),
            wayward_words=words.from_string,
            pretrained=self.pretrained,
            vocabularies=self.vocabularies,
            prompts=self.prompts,
            prompt_file=self.prompt_file,
            embedding=self.embedding_name,
            baselines=self.baselines,
        )


def _pairs(listed: list[Any] | None) -> frozenset[tuple[str, str]]:
    return frozenset((source, target) for source, target in listed or ())


def load(path: epath.PathLike, *, check_words: bool = False) -> Configuration:
    """Reads and checks a configuration.

    Args:
      path: the JSON file.
      check_words: whether to check that word lists and vocabularies can be read, too.

    Raises:
      RecyclingError: there is no such file, it is not JSON, or it has mistakes; each
        mistake was logged with its place.
    """
    path = os.fspath(path)
    text = read_text(path, "the configuration")
    # A repeated key is reported with its line, like the other mistakes.
    content = parse_json(text, f"the configuration {path}", keys_once=False)
    mistakes = Mistakes(path, text)
    try:
        file = _File.model_validate(content)
    except pydantic.ValidationError as error:
        mistakes.add_all(in_words(error, _File))
    if isinstance(content, dict):
        mistakes.add_all(checks.check(content))
    mistakes.report()
    made = file.configuration(path, text)
    if check_words:
        mistakes.add_all(_unreadable_words(made))
        mistakes.report()
    return made


def _unreadable_words(made: Configuration) -> Iterator[Mistake]:
    for name, path in made.vocabularies.items():
        try:
            _ = Vocabulary(path).pieces
        except RecyclingError as error:
            yield ("vocabularies", name), str(error)
    for method in made.methods:
        try:
            method.word_list.words()
        except RecyclingError as error:
            yield ("recycling_methods", method.name), str(error)
    if WAYWARD in made.inits and made.wayward_words is not None:
        try:
            made.wayward_words.words()
        except RecyclingError as error:
            yield ("load_embeddings", "from_string"), str(error)
