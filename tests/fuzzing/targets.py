"""The readers of files from strangers: how each is called with a file of any content.

A reader may return, or raise RecyclingError. Anything else is a finding, and so are a
hang and memory beyond what the file's size explains; see `watching`.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import functools
import hashlib
import io
import os
import pathlib
import re
import types
from collections.abc import Callable, Iterable, Iterator, Sequence
from unittest import mock

import gin
import numpy as np

from prompt_tuning_recycling import (
    collect_recycling_results,
    convert,
    inspect_path,
    kept_prompts,
    recycle,
    report,
    run_folder,
    run_recycle,
)
from prompt_tuning_recycling.choosing import choice, criteria
from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.evaluation import manifest, metrics_file, scores_file
from prompt_tuning_recycling.files.holding import Holder
from prompt_tuning_recycling.initial_prompts import FromText, Recycled
from prompt_tuning_recycling.kept_prompts import Keeping
from prompt_tuning_recycling.maps import load_map
from prompt_tuning_recycling.models import open_model
from prompt_tuning_recycling.models.vocabularies import Vocabulary
from prompt_tuning_recycling.prompts import load_prompt
from prompt_tuning_recycling.prompts.prompt import load_record
from prompt_tuning_recycling.records.recorder import Recorder
from prompt_tuning_recycling.standalone import gin_command_line
from prompt_tuning_recycling.sweep import (
    choices,
    configuration,
    engine,
    outputs,
    present,
    results,
    work,
)
from prompt_tuning_recycling.sweep.plan import Fit, Item, Plan
from prompt_tuning_recycling.sweep.report import comparison
from prompt_tuning_recycling.tasks import text_files
from prompt_tuning_recycling.words import Words, filter_vocabulary, read_embeddings

from . import mutations, seeds

Read = Callable[..., None]


@dataclasses.dataclass(frozen=True)
class Target:
    """A reader.

    Attributes:
      name: its name.
      read: reads the files; gets a folder that is this target's alone, and the content
        of each file.
      kinds: how to change each of the files.
      seeds: makes the contents of files that it can read; each has one for each kind.
      prepare: writes to the folder, once, what stands beside the files.
    """

    name: str
    read: Read
    kinds: tuple[mutations.Bytes, ...]
    seeds: Callable[[], Iterable[Sequence[bytes]]]
    prepare: Callable[[pathlib.Path], object]

    def inputs(self) -> list[bytes]:
        """Returns the seeds as the inputs that `run` takes."""
        return [mutations.SEPARATOR.join(seed) for seed in self.seeds()]

    def run(self, folder: pathlib.Path, data: bytes) -> None:
        """Reads an input."""
        parts = data.split(mutations.SEPARATOR, len(self.kinds) - 1)
        if len(self.kinds) == 1:
            parts = [data]
        parts += [b""] * (len(self.kinds) - len(parts))
        with contextlib.suppress(RecyclingError):
            self.read(folder, *parts)


TARGETS: dict[str, Target] = {}


def _reads(
    *kinds: mutations.Bytes,
    seeds: Callable[[], Iterable[Sequence[bytes]]],
    prepare: Callable[[pathlib.Path], object] = lambda folder: None,
) -> Callable[[Read], Read]:
    """Registers a function as a target under its own name."""

    def register(read: Read) -> Read:
        TARGETS[read.__name__] = Target(read.__name__, read, kinds, seeds, prepare)
        return read

    return register


# Checkpoints


def _look(path: pathlib.Path) -> None:
    """Reads of a checkpoint all that any command reads of one."""
    model = open_model(path)
    for find in (
        lambda: model.embeddings.take([0, model.embeddings.shape[0] - 1, 1]),
        lambda: model.embeddings.origin(model.embeddings.take([0])),
        lambda: load_prompt(model),
        lambda: model.step,
        lambda: model.site,
        lambda: model.network_sizes,
        lambda: model.vocabulary and model.vocabulary.pieces,
        lambda: open_model(model, task=0).prompts,
        lambda: model.base.path,
        lambda: [stored.dtype for stored in model.parameters.values()],
    ):
        with contextlib.suppress(RecyclingError):
            find()
    for name in model.checkpoint.keys()[:8]:
        with contextlib.suppress(RecyclingError):
            model.checkpoint.dtype(name)
            model.checkpoint.read(name)
        with contextlib.suppress(RecyclingError):
            model.checkpoint.take(name, [1, 0])
    # It reads the same once more, and takes as long as all that.
    if len(model.checkpoint.keys()) % 2:
        with contextlib.suppress(RecyclingError), _silent():
            inspect_path.main([os.fspath(path)])


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    with (
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        yield


@_reads(mutations.message, seeds=seeds.states)
def legacy_state(folder: pathlib.Path, content: bytes) -> None:
    (folder / "checkpoint").write_bytes(content)
    _look(folder)


@_reads(mutations.message, seeds=seeds.orbax_states, prepare=seeds.orbax_arrays)
def orbax_state(folder: pathlib.Path, content: bytes) -> None:
    (folder / "state" / "checkpoint").write_bytes(content)
    _look(folder)


@_reads(
    mutations.json_text,
    mutations.chunk,
    seeds=seeds.zarr2,
    prepare=seeds.folder_of_arrays,
)
def zarr2(folder: pathlib.Path, metadata: bytes, chunk: bytes) -> None:
    array = folder / "state" / seeds.TABLE
    (array / ".zarray").write_bytes(metadata)
    for name in ("0.0", "0"):
        (array / name).write_bytes(chunk)
    _look(folder)


@_reads(
    mutations.json_text,
    mutations.chunk,
    seeds=seeds.zarr3,
    prepare=seeds.folder_of_arrays,
)
def zarr3(folder: pathlib.Path, metadata: bytes, chunk: bytes) -> None:
    array = folder / "state" / seeds.TABLE
    (array / "zarr.json").write_bytes(metadata)
    for name in ("c/0/0", "c/0"):
        with contextlib.suppress(OSError):
            (array / name).parent.mkdir(parents=True, exist_ok=True)
            (array / name).write_bytes(chunk)
    _look(folder)


@_reads(
    mutations.some_bytes,
    mutations.some_bytes,
    mutations.some_bytes,
    mutations.some_bytes,
    seeds=seeds.ocdbt,
    prepare=lambda folder: (folder / "state" / "d").mkdir(parents=True),
)
def ocdbt(
    folder: pathlib.Path, name: bytes, metadata: bytes, manifest: bytes, node: bytes
) -> None:
    state = folder / "state"
    for file in (state / "d").iterdir():
        file.unlink()
    (state / "_METADATA").write_bytes(metadata)
    (state / "manifest.ocdbt").write_bytes(mutations.made_right(manifest))
    name = re.sub(rb"[^0-9a-f]", b"", name)[:64] or b"0"
    (state / "d" / name.decode()).write_bytes(mutations.made_right(node))
    _look(folder)


@_reads(mutations.numpy_header, seeds=seeds.numpy_files)
def numpy_file(folder: pathlib.Path, content: bytes) -> None:
    path = folder / "prompt.npy"
    path.write_bytes(content)
    _look(path)


@_reads(mutations.header, seeds=seeds.safetensors_files, prepare=seeds.t5_config)
def safetensors(folder: pathlib.Path, content: bytes) -> None:
    (folder / "model.safetensors").write_bytes(content)
    _look(folder)


@_reads(mutations.json_text, seeds=seeds.indices, prepare=seeds.shards)
def safetensors_index(folder: pathlib.Path, content: bytes) -> None:
    (folder / "model.safetensors.index.json").write_bytes(content)
    _look(folder)


@_reads(mutations.json_text, seeds=seeds.configs, prepare=seeds.t5_tensors)
def config_json(folder: pathlib.Path, content: bytes) -> None:
    (folder / "config.json").write_bytes(content)
    _look(folder)


@_reads(mutations.json_text, mutations.header, seeds=seeds.adapters)
def adapter(folder: pathlib.Path, config: bytes, tensors: bytes) -> None:
    (folder / "adapter_config.json").write_bytes(config)
    (folder / "adapter_model.safetensors").write_bytes(tensors)
    _look(folder)
    for task in (0, 1):
        with contextlib.suppress(RecyclingError):
            load_prompt(open_model(folder, task=task))


@_reads(mutations.some_bytes, mutations.words, seeds=seeds.any_files)
def any_file(folder: pathlib.Path, content: bytes, name: bytes) -> None:
    """A file of any name and content, given as a model."""
    name = re.sub(rb"[^A-Za-z0-9._-]", b"", name)[:80] or b"x"
    path = folder / ("x" + name.decode())
    path.write_bytes(content)
    try:
        _look(path)
    finally:
        path.unlink()


# Words


def _vocabulary(folder: pathlib.Path, content: bytes) -> None:
    path = folder / "vocabulary"
    path.write_bytes(content)
    known = Vocabulary(path)
    assert len(known.pieces) < 1 << 24
    known.encode("the film is good\0 \u2581 é \U0001f600")
    known.row_of("the")
    assert known.table_sizes
    assert known.is_same(Vocabulary(path))
    with contextlib.suppress(RecyclingError):
        Words.from_text("the film", path)
    filter_vocabulary.read_pieces(path)


@_reads(mutations.json_text, seeds=seeds.tokenizer_files)
def tokenizer_json(folder: pathlib.Path, content: bytes) -> None:
    _vocabulary(folder, content)


@_reads(mutations.some_bytes, seeds=seeds.sentencepieces)
def sentencepiece(folder: pathlib.Path, content: bytes) -> None:
    _vocabulary(folder, content)


@_reads(mutations.json_text, seeds=seeds.word_lists)
def word_list(folder: pathlib.Path, content: bytes) -> None:
    path = folder / "words.json"
    path.write_bytes(content)
    for number, offset in ((2, 0), ("auto", 1), (None, 0)):
        with contextlib.suppress(RecyclingError):
            Words.from_list(path, number, offset)


# Records of the package


@_reads(mutations.json_text, seeds=seeds.manifests)
def evaluation_manifest(folder: pathlib.Path, content: bytes) -> None:
    (folder / "manifest.json").write_bytes(content)
    read = manifest.read(folder / "manifest.json")
    manifest.write(folder / "again.json", read.evaluations, read.unlabeled)
    assert manifest.read(folder / "again.json") == read


@_reads(mutations.json_text, seeds=seeds.records, prepare=seeds.kept)
def record(folder: pathlib.Path, content: bytes) -> None:
    """The JSON beside a prompt."""
    kept = folder / "recycled_prompt" / "prompt.npy"
    digest = hashlib.sha256(kept.read_bytes()).hexdigest().encode()
    kept.with_name("prompt.npy.json").write_bytes(content.replace(b"@DIGEST@", digest))
    with contextlib.suppress(RecyclingError):
        load_record(kept)
    with contextlib.suppress(RecyclingError), _silent():
        inspect_path.main([os.fspath(kept)])
    source, prompt, target = seeds.tiny_models()
    declared = Recycled(
        source_checkpoint=source, source_prompt=prompt, target_checkpoint=target
    )
    keeping = Keeping(folder)
    with contextlib.suppress(RecyclingError):
        kept_prompts.check_kept(declared, keeping)
    with contextlib.suppress(RecyclingError):
        kept_prompts.check_kept(FromText(["a", "b"]), keeping)
    with contextlib.suppress(RecyclingError):
        kept_prompts.is_outdated(declared, open_model(target), keeping)
    item = Item("m", "i", "r", "s", "t", 1, prompt, os.fspath(kept), "e")
    present.valid([item])
    choices._is_kept(item.output, {"choice": {}})


@_reads(mutations.json_text, seeds=seeds.map_records, prepare=seeds.fitted)
def map_record(folder: pathlib.Path, content: bytes) -> None:
    """The JSON beside a sweep's map."""
    (folder / "map.json").write_bytes(content)
    comparison._fit(os.fspath(folder / "map"))
    recorder, recycler = _recorder()
    fit = Fit(recycler, configuration.WordList(), os.fspath(folder / "map"), ())
    map_, loaded = work._loaded(recorder, fit)
    of_prompt = np.ones((2, map_.source_dim), np.float32)
    recorder.of_prompt(loaded, of_prompt, {}, map_.apply(of_prompt), map_)


@functools.cache
def _recorder() -> tuple[Recorder, object]:
    source, _, target = seeds.tiny_models()
    words = Words.from_rows(range(10), range(10, 14))
    (embedded,) = read_embeddings(open_model(source), open_model(target), [words])
    return Recorder(embedded), seeds.recycler()


@_reads(mutations.json_text, seeds=seeds.run_starts)
def run_start(folder: pathlib.Path, content: bytes) -> None:
    (folder / "run_start.json").write_bytes(content)
    start = run_folder.read_start(folder)
    assert start is not None
    start.check("/models/a", FromText(["a", "b"]), FromText(["a"]), 0)


@_reads(mutations.json_text, seeds=seeds.scores)
def scores(folder: pathlib.Path, content: bytes) -> None:
    path = folder / "scores.json"
    path.write_bytes(content)
    read = scores_file.read(path)
    with np.errstate(all="ignore"):
        q = criteria.probabilities(read.rows)
        choice.worth(read.rows, None, read.has_same_choices)
        choice.worth(read.rows, q, read.has_same_choices)
    scores_file.write(folder / "again.json", read)
    assert scores_file.read(folder / "again.json").sizes == read.sizes


@_reads(mutations.json_text, seeds=seeds.teachers)
def teacher_scores(folder: pathlib.Path, content: bytes) -> None:
    path = folder / "teacher.json"
    path.write_bytes(content)
    # It imports seqio, and so TensorFlow.
    from prompt_tuning_recycling.choosing import teacher

    for inputs in (seeds.unlabeled(), seeds.unlabeled_without_choices()):
        with contextlib.suppress(RecyclingError):
            teacher.load(path, inputs)


@_reads(mutations.json_text, mutations.json_text, seeds=seeds.metrics)
def metrics(folder: pathlib.Path, lines: bytes, evaluated: bytes) -> None:
    """An evaluation's metrics, in JSON Lines, and which prompt it is of."""
    path = pathlib.Path(metrics_file.place(os.fspath(folder), "toy"))
    path.parent.mkdir(exist_ok=True)
    (path.parent / "evaluated_prompt.json").write_bytes(evaluated)
    path.write_bytes(lines)
    metrics_file.read_prompt(os.fspath(folder))
    results._last(os.fspath(folder), "toy", ["accuracy"])
    metrics_file.metric_lines({"toy": metrics_file.read(path)[-1]})


@_reads(mutations.header, seeds=seeds.maps)
def learned_map(folder: pathlib.Path, content: bytes) -> None:
    path = folder / "map.safetensors"
    path.write_bytes(content)
    loaded = load_map(path)
    with np.errstate(all="ignore"):
        loaded.apply(np.ones((2, loaded.source_dim), np.float32))
        loaded.combination(np.ones((2, loaded.source_dim), np.float32))


@_reads(mutations.json_text, seeds=seeds.scheduler_notes)
def scheduler_note(folder: pathlib.Path, content: bytes) -> None:
    """The note by which sweep commands on one folder find each other."""
    path = folder / "scheduler.json"
    path.write_bytes(content)
    # It would connect to one on this machine.
    if b"127.0.0.1" in content:
        return
    leader = Holder(os.uname().nodename, 7, "recycle", "", "token")
    joining = engine.Engine(os.fspath(folder), 1, None)
    with mock.patch.object(engine, "_PAUSE", 0):
        list(joining._joining(path, leader, print, {}))


# Configurations and data


@_reads(mutations.json_text, seeds=seeds.sweeps, prepare=seeds.sweep_words)
def sweep_configuration(folder: pathlib.Path, content: bytes) -> None:
    path = folder / "sweep.json"
    path.write_bytes(content.replace(b"@FOLDER@", os.fsencode(folder)))
    sweep = configuration.load(path)
    assert sweep.inits
    assert sweep.runs
    # A plan takes as long as it is, and lists the folders that the file names.
    if len(content) < 4 * len(seeds.sweep()) and b'"/' not in content:
        sweep.pairs()
        outputs.check(sweep, Plan(sweep).pairs())


@_reads(mutations.words, seeds=seeds.tsv)
def examples_tsv(folder: pathlib.Path, content: bytes) -> None:
    (folder / "examples.tsv").write_bytes(content)
    text_files.read_examples(folder / "examples.tsv")


@_reads(mutations.json_text, seeds=seeds.jsonl)
def examples_jsonl(folder: pathlib.Path, content: bytes) -> None:
    (folder / "examples.jsonl").write_bytes(content)
    text_files.read_examples(folder / "examples.jsonl")


# Command lines, without running them


PARSERS: dict[str, Callable[[Sequence[str]], object]] = {
    "run_recycle": lambda flags: _run_recycle(run_recycle._parser().parse_args(flags)),
    "recycle": lambda flags: recycle._parser().parse_args(flags),
    "collect": lambda flags: collect_recycling_results._parser().parse_args(flags),
    "report": lambda flags: report._parser().parse_args(flags),
    "convert": lambda flags: convert._parser().parse_args(flags),
    "inspect": lambda flags: inspect_path._parser().parse_args(flags),
    "filter": lambda flags: filter_vocabulary._parser().parse_args(flags),
    "eval": lambda flags: gin_command_line._parse("eval", "", flags),
}


def _run_recycle(flags: argparse.Namespace) -> None:
    run_recycle._recycler(flags)
    run_recycle._words(flags)


@_reads(mutations.words, seeds=seeds.command_lines)
def command_line(folder: pathlib.Path, content: bytes) -> None:
    """Flags, one a line, after the name of the command."""
    # As Python decodes the command line; it cannot hold null characters.
    command, *flags = os.fsdecode(content.replace(b"\0", b"")).split("\n")
    if command not in PARSERS:
        return
    try:
        with _silent():
            PARSERS[command](flags)
    except SystemExit as stop:
        assert stop.code in (0, 2)


@_reads(mutations.words, seeds=seeds.gin_lines)
def gin_macros(folder: pathlib.Path, content: bytes) -> None:
    """Macros as the command line sets them, one a line, and the checks of them."""
    # A gin file is a program, so imports and includes are not tried.
    lines = [
        line.strip()
        for line in os.fsdecode(content.replace(b"\0", b"")).split("\n")
        if re.match(r"[A-Z][A-Z0-9_]* = (?!.*(import|include|@))", line.strip())
    ]
    uses = [f"{n}/fuzzed.value = %{n}" for line in lines if (n := line.split(" ")[0])]
    try:
        with gin.unlock_config():
            gin_command_line._parse_gin([], [*lines, *uses])
            with gin_command_line.given(lines):
                gin_command_line._check_required()
                try:
                    gin.finalize()
                except RecyclingError:
                    raise
                except ValueError as error:
                    raise RecyclingError(str(error)) from error
    finally:
        gin.clear_config()


@gin.configurable(module="tests.fuzzing")
def fuzzed(*, value: object = None) -> object:
    """Whatever uses a macro."""
    return value


ALL = types.MappingProxyType(TARGETS)
