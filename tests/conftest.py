"""Fixtures: small models, and checkpoints of every format written by real writers."""

from __future__ import annotations

import gc
import io
import json
import os
import pathlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from unittest import mock

import flax.serialization
import flax.traverse_util
import numpy as np
import orbax.checkpoint as ocp
import pytest
import sentencepiece
import tensorstore as ts

from prompt_tuning_recycling import command_line

from .installations import checkout, dependencies, pythons  # noqa: F401
from .programs import IMPORTABLE, compiled, start_program  # noqa: F401
from .sweeps import sweep_config, sweep_content  # noqa: F401

CHECKOUT = pathlib.Path(__file__).resolve().parent.parent
EMBEDDING = "target/token_embedder/embedding"
PROMPT = "target/encoder/prompt/prompt/prompt"
VOCABULARY_SIZE = 384
SOURCE_DIM, TARGET_DIM, LENGTH = 12, 20, 5
DEMO_MODELS = CHECKOUT / "examples/demo/models"


def thorough(*values: Any) -> Any:
    """A case for `make test-thorough`; `make test` has another one of its kind."""
    return pytest.param(*values, marks=pytest.mark.thorough)


def pytest_collection_modifyitems(items: list[pytest.Function]) -> None:
    """Each process begins with slow tests, so that none waits for one at the end: they
    get equal parts of the list, and take over from one another what is at a part's end.
    """
    processes = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 1))
    slow = [item for item in items if _takes_seconds(item)]
    # One process runs most of these, so it alone imports what they are forked from.
    slow.sort(key=lambda item: "start_program" not in item.fixturenames)
    quick = [item for item in items if not _takes_seconds(item)]
    items[:] = [
        item
        for process in range(processes)
        for tests in (slow, quick)
        for item in tests[
            len(tests) * process // processes : len(tests) * (process + 1) // processes
        ]
    ]


def _takes_seconds(item: pytest.Function) -> bool:
    return any(item.get_closest_marker(name) for name in ("slow", "thorough"))


# What is imported stays; looking for garbage in it would take a fifteenth of the time.
gc.disable()


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    gc.enable()


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def shared_data() -> pathlib.Path:
    """Real checkpoints and prompts that are not part of the project."""
    default = CHECKOUT.parent / "shared" / "data"
    folder = pathlib.Path(os.environ.get("PROMPT_RECYCLING_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"the real checkpoints and prompts are not here ({folder})")
    return folder


@pytest.fixture
def forbidden() -> Iterator[tuple[pathlib.Path, Callable[..., None]]]:
    """A folder, and a function that takes away this process's permission to look into
    one inside it or, with another mode, to write to it.
    """
    root = os.geteuid() == 0
    # The tests' own folder is one that root alone may enter.
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        folder.chmod(0o755)
        try:

            def forbid(inside: str, mode: int = 0) -> None:
                (folder / inside).chmod(mode)
                # Permissions do not hold root back.
                if root:
                    os.seteuid(65534)

            yield folder, forbid
        finally:
            if root:
                os.seteuid(0)
            for path in folder.rglob("*"):
                if path.is_dir():
                    path.chmod(0o755)


@pytest.fixture
def source_table(rng) -> np.ndarray:
    return rng.normal(size=(VOCABULARY_SIZE, SOURCE_DIM)).astype(np.float32)


@pytest.fixture
def target_table(rng, source_table) -> np.ndarray:
    """Embeddings that are a noisy linear image of the source's."""
    image = source_table @ rng.normal(size=(SOURCE_DIM, TARGET_DIM))
    return (image + rng.normal(size=image.shape)).astype(np.float32)


@pytest.fixture
def prompt(rng) -> np.ndarray:
    return (3 * rng.normal(size=(LENGTH, SOURCE_DIM))).astype(np.float32)


def as_tree(arrays: dict[str, Any]) -> dict[str, Any]:
    return flax.traverse_util.unflatten_dict(arrays, sep="/")


@pytest.fixture
def write_orbax() -> Callable[..., pathlib.Path]:
    """Writes a step as T5X does today, through Orbax itself.

    With `state_file` as Orbax did until 2024: an msgpack beside the arrays, which holds
    those that are `aggregated` and placeholders for the others.
    """

    def write(
        step,
        arrays,
        *,
        ocdbt=True,
        zarr3=False,
        chunk_rows=None,
        folder="state",
        state_file=False,
        aggregated=(),
        metadata=True,
    ) -> pathlib.Path:
        tree = as_tree({n: a for n, a in arrays.items() if n not in aggregated})
        handler = ocp.PyTreeCheckpointHandler(use_ocdbt=ocdbt, use_zarr3=zarr3)
        args = None
        if chunk_rows:
            import jax

            save_args = jax.tree.map(
                lambda a: ocp.SaveArgs(chunk_byte_size=chunk_rows * a[:1].nbytes), tree
            )
            args = {"save_args": save_args}
        with ocp.Checkpointer(handler) as checkpointer:
            if tree:
                checkpointer.save(step / folder, tree, **(args or {}))
            else:
                (step / folder).mkdir(parents=True)
        if state_file:
            leaves = {
                name: array
                if name in aggregated
                else ocp.utils.leaf_placeholder(name.replace("/", "."))
                for name, array in arrays.items()
            }
            data = ocp.msgpack_utils.msgpack_serialize(as_tree(leaves))
            (step / folder / "checkpoint").write_bytes(data)
        if not metadata:
            (step / folder / "_METADATA").unlink()
        return step

    return write


@pytest.fixture
def write_legacy() -> Callable[..., pathlib.Path]:
    """Writes a step as T5X did before Orbax: msgpack, and zarr folders beside it."""

    def write(
        step,
        arrays,
        *,
        driver="file",
        inlined=(),
        largest=flax.serialization.MAX_CHUNK_SIZE,
        chunk_rows=None,
        compressor="gzip",
    ) -> pathlib.Path:
        step.mkdir(parents=True)
        state = {}
        for name, array in arrays.items():
            # What is small is in the msgpack as it is: T5X's step is an array, other
            # scalars are numpy's or Python's.
            if name in inlined or np.ndim(array) == 0:
                state[name] = array
                continue
            folder = name.replace("/", ".") + "/"
            # Of these numpy only knows how wide they are.
            named = array.dtype.name.startswith(("bfloat16", "float8"))
            metadata = {
                "shape": list(array.shape),
                "chunks": [chunk_rows or array.shape[0], *array.shape[1:]],
                "dtype": array.dtype.name if named else array.dtype.str,
                "compressor": compressor and {"id": compressor, "level": 1},
                "dimension_separator": ".",
            }
            ts.open(
                {
                    "driver": "zarr",
                    "kvstore": {"driver": "file", "path": f"{step}/{folder}"},
                    "metadata": metadata,
                },
                create=True,
            ).result().write(array).result()
            kvstore = {"driver": driver, "path": folder}
            if driver == "gs":
                kvstore = {"driver": "gcs", "bucket": "b", "path": f"old/{folder}"}
            state[name] = {"driver": "zarr", "kvstore": kvstore, "metadata": {}}
        record = {"version": 3, "optimizer": as_tree(state)}
        with mock.patch.object(flax.serialization, "MAX_CHUNK_SIZE", largest):
            data = flax.serialization.msgpack_serialize(record)
        (step / "checkpoint").write_bytes(data)
        return step

    return write


FORMATS = {
    "orbax-ocdbt": ("write_orbax", {}),
    "orbax-ocdbt-zarr3": ("write_orbax", {"zarr3": True}),
    "orbax-folders": ("write_orbax", {"ocdbt": False}),
    "orbax-folders-zarr3": ("write_orbax", {"ocdbt": False, "zarr3": True}),
    "orbax-2023": ("write_orbax", {"state_file": True}),
    "orbax-2023-aggregated": (
        "write_orbax",
        {"state_file": True, "aggregated": (EMBEDDING, PROMPT)},
    ),
    "orbax-2022-folders": (
        "write_orbax",
        {"state_file": True, "ocdbt": False, "metadata": False},
    ),
    "legacy-file": ("write_legacy", {}),
    "legacy-gfile": ("write_legacy", {"driver": "gfile"}),
    "legacy-gs": ("write_legacy", {"driver": "gs"}),
    "legacy-inlined": ("write_legacy", {"inlined": (EMBEDDING, PROMPT)}),
    "legacy-in-pieces": (
        "write_legacy",
        {"inlined": (EMBEDDING, PROMPT), "largest": 100},
    ),
    "legacy-chunked": ("write_legacy", {"chunk_rows": 100}),
    "legacy-uncompressed": ("write_legacy", {"compressor": None}),
}


@pytest.fixture(params=FORMATS)
def write_any(request) -> Callable[..., pathlib.Path]:
    """Writes a step in each of T5X's formats in turn."""
    fixture, options = FORMATS[request.param]
    write = request.getfixturevalue(fixture)
    return lambda step, arrays: write(step, arrays, **options)


@pytest.fixture
def word_list(tmp_path) -> pathlib.Path:
    """300 words, of indices in no simple relation to their place in the list."""
    path = tmp_path / "words.json"
    entries = {str(3 + i): f"\u2581word{i}" for i in range(300)}
    path.write_text(json.dumps(entries))
    return path


@pytest.fixture
def files(
    tmp_path, source_table, target_table, prompt, word_list, write_orbax, write_legacy
) -> dict[str, str]:
    """Flags of a `run_recycle` that works, cheap enough to run in every test."""
    write_orbax(tmp_path / "source/checkpoint_7", {EMBEDDING: source_table})
    write_legacy(tmp_path / "target/checkpoint_9", {EMBEDDING: target_table})
    np.save(tmp_path / "prompt.npy", prompt)
    return {
        "source_model": str(tmp_path / "source"),
        "target_model": str(tmp_path / "target"),
        "prompt_path": str(tmp_path / "prompt.npy"),
        "output_path": str(tmp_path / "out" / "recycled"),
        "filtered_word": str(word_list),
        "num_words": "200",
        "word_offset": "10",
        "recycler": "v2v-lin",
    }


@pytest.fixture
def run() -> Callable[..., int]:
    """Runs a command line in this process: its exit code, as the shell would see it."""

    def run(main, flags: dict[str, str | None]) -> int:
        arguments = [
            f"--{name}" if value is None else f"--{name}={value}"
            for name, value in flags.items()
        ]
        try:
            return command_line.run(main, arguments)
        except SystemExit as stop:  # argparse, on a flag that it cannot parse.
            return int(stop.code or 0)

    return run


def train_vocabulary(path: pathlib.Path, texts: Sequence[str], size: int) -> None:
    """Writes a SentencePiece model of `size` pieces at most."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts),
        model_writer=model,
        vocab_size=size,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    path.write_bytes(model.getvalue())


def write_tiny_model(path: pathlib.Path, prompt_length: int) -> pathlib.Path:
    """Writes a gin file of a tiny model of the demo's language; of a model without a
    prompt where `prompt_length` is 0.
    """
    file = f"models/t5_1_1_tiny{'_prompt' if prompt_length else ''}.gin"
    length = f"PROMPT_LENGTH = {prompt_length}" if prompt_length else ""
    path.write_text(f"""\
from __gin__ import dynamic_registration

import seqio
from prompt_tuning_recycling import network

include '{file}'

VOCABULARY_FILE = '{DEMO_MODELS / "vocabulary.model"}'
seqio.SentencePieceVocabulary.extra_ids = 0
network.T5Config.vocab_size = 640
{length}
""")
    return path


def importable_environment() -> dict[str, str]:
    """The environment of a process that can import what the tests bring."""
    paths = [str(IMPORTABLE), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
