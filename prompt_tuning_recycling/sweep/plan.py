"""The parts of a sweep, in a stable order: pairs of models, and for each pair the maps
to fit and the prompts to recycle.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator

from prompt_tuning_recycling.files import as_path
from prompt_tuning_recycling.recyclers import Recycler
from prompt_tuning_recycling.sweep import layout
from prompt_tuning_recycling.sweep.configuration import (
    WAYWARD,
    Configuration,
    Method,
    WordList,
    WordsOfText,
)

_EXPORT = re.compile(r"checkpoint_(\d+)")


@dataclasses.dataclass(frozen=True)
class Item:
    """A prompt to recycle.

    Attributes:
      method: the name of the method.
      init, run: the initialization and the run of the tuning.
      source, target: names of the models.
      step: the step of the tuning.
      prompt_from: the source's prompt, a numpy file.
      output: where the recycled prompt goes.
      eval_dir: where its evaluation goes.
    """

    method: str
    init: str
    run: str
    source: str
    target: str
    step: int
    prompt_from: str
    output: str
    eval_dir: str


@dataclasses.dataclass(frozen=True)
class Fit:
    """A map to fit, and the prompts that it recycles.

    Attributes:
      recycler: the recycler.
      words: the words that the map is fitted on.
      path: where the map goes.
      items: the prompts.
    """

    recycler: Recycler
    words: WordList | WordsOfText
    path: str
    items: tuple[Item, ...]


@dataclasses.dataclass(frozen=True)
class PairWork:
    """All work for one source and one target.

    Attributes:
      source, target: the models' names.
      source_path, target_path: their checkpoints.
      embedding: the embedding table's name in both, if it is not the usual one.
      clobber: whether to make existing outputs again.
      fits: the maps.
      unlisted: runs whose steps could not be listed, and why.
      source_vocabulary, target_vocabulary: the models' vocabulary files, if these are
        not beside the checkpoints.
    """

    source: str
    target: str
    source_path: str
    target_path: str
    embedding: str | None
    clobber: bool
    fits: tuple[Fit, ...]
    unlisted: tuple[tuple[str, str], ...] = ()
    source_vocabulary: str | None = None
    target_vocabulary: str | None = None

    @property
    def items(self) -> list[Item]:
        """The prompts of all maps."""
        return [item for fit in self.fits for item in fit.items]


@dataclasses.dataclass(frozen=True)
class Cell:
    """What a choice is made for: a prompt of a source, for a target.

    Attributes: those of `Item`.
    """

    init: str
    run: str
    source: str
    target: str
    step: int


def by_cell(items: Iterable[Item]) -> dict[Cell, dict[str, Item]]:
    """Returns cell -> method -> prompt, in the prompts' order."""
    found: dict[Cell, dict[str, Item]] = {}
    for item in items:
        cell = Cell(item.init, item.run, item.source, item.target, item.step)
        found.setdefault(cell, {})[item.method] = item
    return found


def chosen_output(configuration: Configuration, choice: str, cell: Cell) -> str:
    """Returns the file of the prompt that a choice takes for a cell."""
    root, dataset = configuration.root_dir, configuration.dataset
    folder = layout.run(root, choice, dataset, cell.init, cell.run)
    name = layout.prompt_name(cell.source, cell.step, cell.target)
    return layout.join(folder, "recycled-prompt", name)


class Plan:
    """A configuration's work. If the steps are not given, it lists each tuning run's
    folder once.
    """

    def __init__(self, configuration: Configuration) -> None:
        self._configuration = configuration
        self._steps: dict[str, tuple[int, ...] | str] = {}

    def pairs(self) -> list[PairWork]:
        """Returns the work, pair by pair."""
        return [self._pair(*pair) for pair in self._configuration.pairs()]

    def items(self) -> list[Item]:
        """Returns every prompt to recycle."""
        return [item for pair in self.pairs() for item in pair.items]

    def _pair(self, source: str, target: str) -> PairWork:
        made = self._configuration
        fits = []
        for method in made.methods:
            if (source, target) in method.skips:
                continue
            for wayward in (False, True):
                inits = [init for init in made.inits if (init == WAYWARD) == wayward]
                if not inits:
                    continue
                items = tuple(
                    item
                    for init in inits
                    for item in self._items(method, init, source, target)
                )
                path = layout.recycler(
                    made.root_dir, method.name, source, target, wayward
                )
                words = made.words_of(method, inits[0])
                fits.append(Fit(method.recycler, words, path, items))
        unlisted = {
            folder: found
            for runs in made.prompts[source].values()
            for folder in runs.values()
            if isinstance(found := self._steps_of(folder), str)
        }
        return PairWork(
            source,
            target,
            made.pretrained[source],
            made.pretrained[target],
            made.embedding,
            made.clobber,
            tuple(fits),
            tuple(unlisted.items()),
            made.vocabularies.get(source),
            made.vocabularies.get(target),
        )

    def _items(
        self, method: Method, init: str, source: str, target: str
    ) -> Iterator[Item]:
        made = self._configuration
        for run, model_dir in made.prompts[source][init].items():
            folder = layout.run(made.root_dir, method.name, made.dataset, init, run)
            steps = self._steps_of(model_dir)
            for step in () if isinstance(steps, str) else steps:
                name = layout.prompt_name(source, step, target)
                yield Item(
                    method.name,
                    init,
                    run,
                    source,
                    target,
                    step,
                    prompt_from=layout.export(model_dir, step, made.prompt_file),
                    output=layout.join(folder, "recycled-prompt", name),
                    eval_dir=layout.join(folder, "eval", name),
                )

    def _steps_of(self, model_dir: str) -> tuple[int, ...] | str:
        """A run's steps to recycle, or a message if they cannot be listed."""
        if self._configuration.steps is not None:
            return self._configuration.steps
        if model_dir not in self._steps:
            self._steps[model_dir] = _exported_steps(model_dir)
        return self._steps[model_dir]


def _exported_steps(model_dir: str) -> tuple[int, ...] | str:
    folder = as_path(model_dir) / "numpy_checkpoints"
    try:
        names = [child.name for child in folder.iterdir()]
    except OSError as error:
        return f"cannot list the steps of {folder}: {error.strerror or error}"
    steps = [int(match[1]) for match in map(_EXPORT.fullmatch, names) if match]
    if not steps:
        return f"{folder} holds no exported prompts (checkpoint_<step>)."
    return tuple(sorted(steps))
