"""Lists every path that a sweep will write, before any work is done, to check that no
two names in its configuration lead to the same path.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from prompt_tuning_recycling.evaluation import metrics_file, scores_file
from prompt_tuning_recycling.files import holding
from prompt_tuning_recycling.files.meetings import Claim, Use, find
from prompt_tuning_recycling.prompts.prompt import record_path
from prompt_tuning_recycling.sweep import evaluations, layout
from prompt_tuning_recycling.sweep.configuration import (
    WAYWARD,
    Configuration,
    WordList,
)
from prompt_tuning_recycling.sweep.json_places import Place
from prompt_tuning_recycling.sweep.mistakes import Mistakes
from prompt_tuning_recycling.sweep.plan import (
    Cell,
    Item,
    PairWork,
    by_cell,
    chosen_output,
)

_SOURCE = "source"
_PARTS_OF_RUN = {
    "recycled-prompt": "the folder of recycled prompts",
    "eval": "the folder of evaluations",
}


class Name(NamedTuple):
    """A name that is part of a path.

    Attributes:
      place: its place in the configuration.
      which: which one it is, if that place holds several.
      role: its role in the path, if it can have more than one.
    """

    place: Place
    which: str = ""
    role: str = ""


Names = tuple[Name, ...]


def check(sweep: Configuration, pairs: Iterable[PairWork]) -> None:
    """Checks that a sweep's outputs meet neither each other nor what it reads.

    Raises:
      RecyclingError: some do; the names that cause it were logged with their places.
    """
    mistakes = Mistakes(sweep.path, sweep.text)
    items = [item for pair in pairs for item in pair.items]
    groups: dict[tuple[Names, Names], list[tuple[Claim, Claim]]] = {}
    for one, two in find(_Paths(sweep).claims(items)):
        groups.setdefault(_causes(one, two), []).append((one, two))
    for (names_one, names_two), met in groups.items():
        one, two = met[0]
        count = len(met) - 1
        more = f" ({count} more paths meet in the same way)" if count else ""
        place = (names_two or names_one or (Name(("root_dir",)),))[-1].place
        if Use.READ in (one.use, two.use):
            read, written = (one, two) if one.use is Use.READ else (two, one)
            mistakes.add(
                place,
                f"{read.path} is read, {read.what}, but {written.path} would be "
                f"written, {written.what}{more}. Choose another root_dir.",
            )
            continue
        first = f"{one.what}{_in_words(names_one)}"
        second = f"{two.what}{_in_words(names_two)}"
        said = f"{two.path} would be both {first} and {second}"
        if one.path != two.path:
            said = f"{two.path} would be {second}, but {one.path} is {first}"
        mistakes.add(place, f"{said}{more}. Rename one.")
    mistakes.report()


def _causes(one: Claim, two: Claim) -> tuple[Names, Names]:
    """The names in which two claims differ: the reason why the claims meet."""
    if one.use is Use.READ:
        return one.names, ()
    if two.use is Use.READ:
        return two.names, ()
    return (
        tuple(n._replace(role="") for n in one.names if n not in two.names),
        tuple(n._replace(role="") for n in two.names if n not in one.names),
    )


def _in_words(names: Names) -> str:
    if not names:
        return ""
    words = [".".join(map(str, name.place)) + name.which for name in names]
    return f" ({', '.join(words)})"


class _Paths:
    """A sweep's paths, including those that it reads."""

    def __init__(self, sweep: Configuration) -> None:
        self._sweep = sweep
        self._dataset: Names = (Name(("dataset",)),)

    def claims(self, items: Sequence[Item]) -> Iterator[Claim]:
        yield from self._read(items)
        yield from self._of_folder()
        yield from self._of_dataset()
        for method in self._sweep.methods:
            yield from self._of_maps(method.name)
            yield from self._of_method(method.name)
        for item in items:
            yield from self._of_item(item)
        if self._sweep.choices:
            yield from self._of_choices(items)
        for target in self._sweep.pretrained:
            yield from self._of_target(target)

    def _read(self, items: Sequence[Item]) -> Iterator[Claim]:
        sweep = self._sweep
        yield Claim(sweep.path, Use.READ, "the configuration")
        for name, path in sweep.pretrained.items():
            yield Claim(path, Use.READ, "a model", _model(name))
        for name, path in sweep.vocabularies.items():
            place = Name(("vocabularies", name))
            yield Claim(path, Use.READ, "a vocabulary", (place,))
        for item in items:
            tuning = self._tuning(item.source, item.init, item.run)
            yield Claim(item.prompt_from, Use.READ, "a tuned prompt", tuning)
        for target in sweep.pretrained:
            for baseline in evaluations.baselines(sweep, target):
                if baseline.evaluation.prompt is not None:
                    init, run = baseline.group.init or "", baseline.run or ""
                    yield Claim(
                        baseline.evaluation.prompt,
                        Use.READ,
                        "an untuned prompt",
                        self._tuning(target, init, run),
                    )
        for method, init in itertools.product(sweep.methods, sweep.inits):
            words = sweep.words_of(method, init)
            if not isinstance(words, WordList):
                names: Names = (Name(("load_embeddings", "from_string", "vocab_file")),)
                yield Claim(words.vocab_file, Use.READ, "a vocabulary", names)
            elif words.word_list_path is not None:
                names = _method(method.name)
                yield Claim(words.word_list_path, Use.READ, "a word list", names)

    def _of_folder(self) -> Iterator[Claim]:
        """The paths that all sweeps in the folder share."""
        yield self._folder("the folder in which commands meet", ".sweep")
        root = self._sweep.root_dir
        for path in (*layout.meeting(root), layout.collecting(root)):
            yield Claim(path, Use.FILE, "a file by which commands meet")
        yield self._folder("the baselines' folder", "baselines")

    def _of_dataset(self) -> Iterator[Claim]:
        root, dataset, names = (
            self._sweep.root_dir,
            self._sweep.dataset,
            self._dataset,
        )
        for path, what in (
            (layout.cli_args(root, dataset), "the list of flags"),
            (layout.report(root, dataset), "the report"),
            *(
                (layout.table(root, kind, dataset), f"the table of {kind}")
                for kind in ("training", "recycling", "baselines")
            ),
        ):
            yield Claim(path, Use.FILE, what, names)
        what = "the manifests' folder"
        yield self._folder(what, f"manifest-{dataset}", names=names)
        what = "the folder of a dataset's baselines"
        yield self._folder(what, "baselines", dataset, names=names)

    def _of_maps(self, method: str) -> Iterator[Claim]:
        sweep, names = self._sweep, _method(method)
        learned = "the folder of maps"
        yield self._folder(learned, method, "learned-recyclers", names=names)
        kinds = sorted({init == WAYWARD for init in sweep.inits})
        for (source, target), wayward in itertools.product(sweep.pairs(), kinds):
            path = layout.recycler(sweep.root_dir, method, source, target, wayward)
            of_pair = (*names, *_model(source, _SOURCE), *_model(target))
            yield from _with_record(path, "a map", of_pair)
            yield Claim(layout.lock(path), Use.FILE, "the lock of a map", of_pair)

    def _of_method(
        self, method: str, parts_of_run: Mapping[str, str] = _PARTS_OF_RUN
    ) -> Iterator[Claim]:
        sweep, names = self._sweep, _method(method)
        yield self._folder("a method's folder", method, names=names)
        names = (*names, *self._dataset)
        yield self._folder("a dataset's folder", method, sweep.dataset, names=names)
        for init in sweep.inits:
            parts = (method, sweep.dataset, init)
            of_init = (*names, Name(self._place(init)))
            yield self._folder("an initialization's folder", *parts, names=of_init)
            for run in sweep.runs:
                of_run = (*of_init, Name(self._place(init, run)))
                yield self._folder("a run's folder", *parts, run, names=of_run)
                for part, what in parts_of_run.items():
                    yield self._folder(what, *parts, run, part, names=of_run)

    def _of_item(self, item: Item) -> Iterator[Claim]:
        names = self._of_cell(item.method, item)
        yield from _with_record(item.output, "a recycled prompt", names)
        yield from _evaluated(item.eval_dir, "a prompt's evaluation", names)
        yield from self._scored(item.eval_dir, "a prompt's scores", names)

    def _of_cell(self, method: str, cell: Item | Cell) -> Names:
        return (
            *_method(method),
            *self._dataset,
            Name(self._place(cell.init)),
            Name(self._place(cell.init, cell.run)),
            *_model(cell.source, _SOURCE),
            Name(("steps",), f" {cell.step}"),
            *_model(cell.target),
        )

    def _of_choices(self, items: Sequence[Item]) -> Iterator[Claim]:
        """The prompts that choices take, and the scores that they need besides."""
        sweep = self._sweep
        prompts = {"recycled-prompt": _PARTS_OF_RUN["recycled-prompt"]}
        for choice in sweep.choices:
            yield from self._of_method(choice.name, prompts)
            for cell in by_cell(items):
                path = chosen_output(sweep, choice.name, cell)
                names = self._of_cell(choice.name, cell)
                yield from _with_record(path, "a chosen prompt", names)
        if not any(choice.teacher for choice in sweep.choices):
            return
        what = "the folder of teachers"
        yield self._folder(what, "teachers")
        yield self._folder(what, "teachers", sweep.dataset, names=self._dataset)
        tuned = {evaluations.teacher_dir(sweep, cell): cell for cell in by_cell(items)}
        for folder, cell in tuned.items():
            names = (*self._dataset, *_model(cell.source))
            parts = ["teachers", sweep.dataset, cell.source]
            yield self._folder(what, *parts, names=names)
            places = [self._place(cell.init), self._place(cell.init, cell.run)]
            for part, place in zip((cell.init, cell.run), places, strict=True):
                parts, names = [*parts, part], (*names, Name(place))
                yield self._folder(what, *parts, names=names)
            names = (*names, Name(("steps",), f" {cell.step}"))
            yield Claim(folder, Use.FOLDER, what, names)
            yield from self._scored(folder, "a teacher's scores", names)

    def _scored(self, output_dir: str, what: str, names: Names) -> Iterator[Claim]:
        for drawing in self._sweep.drawings:
            path = scores_file.place(output_dir, drawing)
            yield Claim(os.path.dirname(path), Use.FOLDER, what, names)
            yield Claim(path, Use.FILE, what, names)

    def _of_target(self, target: str) -> Iterator[Claim]:
        sweep, names = self._sweep, (*self._dataset, *_model(target))
        path = layout.manifest(sweep.root_dir, sweep.dataset, target)
        yield Claim(path, Use.FILE, "a manifest", names)
        what = "the folder of a target's baselines"
        yield self._folder(what, "baselines", sweep.dataset, target, names=names)
        for baseline in evaluations.baselines(sweep, target):
            of_one: Names = (Name(("baselines",), f" {baseline.name}"),)
            if baseline.group.init is not None and baseline.run is not None:
                init, run = baseline.group.init, baseline.run
                of_one = (Name(self._place(init)), Name(self._place(init, run)))
            output_dir = baseline.evaluation.output_dir
            yield from _evaluated(output_dir, "a baseline", (*names, *of_one))
            if baseline.evaluation.prompt is not None:
                what = "a baseline's scores"
                yield from self._scored(output_dir, what, (*names, *of_one))

    def _folder(self, what: str, *parts: str, names: Names = ()) -> Claim:
        path = layout.join(self._sweep.root_dir, *parts)
        return Claim(path, Use.FOLDER, what, names)

    def _place(self, init: str, run: str | None = None) -> Place:
        """Where an initialization or a run is named. The first model, and for a run the
        first initialization, stands for all, since all have the same names.
        """
        model = next(iter(self._sweep.prompts))
        if run is None:
            return "prompts", model, init
        return "prompts", model, self._sweep.inits[0], run

    def _tuning(self, model: str, init: str, run: str) -> Names:
        return (Name(("prompts", model, init, run)),)


def _method(name: str) -> Names:
    return (Name(("recycling_methods", name)),)


def _model(name: str, role: str = "") -> Names:
    return (Name(("pretrained", name), role=role),)


def _with_record(path: str, what: str, names: Names) -> Iterator[Claim]:
    yield Claim(path, Use.FILE, what, names)
    record = str(record_path(path))
    yield Claim(record, Use.FILE, f"the record of {what}", names)


def _evaluated(output_dir: str, what: str, names: Names) -> Iterator[Claim]:
    yield Claim(output_dir, Use.FOLDER, what, names)
    lock = os.path.join(output_dir, holding.LOCK)
    yield Claim(lock, Use.FILE, f"the lock of {what}", names)
    folder = metrics_file.metrics_folder(output_dir)
    yield Claim(folder, Use.REPLACED, f"the metrics of {what}", names)
