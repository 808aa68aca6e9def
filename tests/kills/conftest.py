"""Fixtures: every writer with small inputs, and the processes that they run in."""

from __future__ import annotations

import json
import os
import pathlib

import numpy as np
import pytest
import sentencepiece

from prompt_tuning_recycling import recycle
from prompt_tuning_recycling.evaluation import manifest, metrics_file
from prompt_tuning_recycling.evaluation.manifest import Evaluation
from prompt_tuning_recycling.evaluation.scores_file import Drawing
from prompt_tuning_recycling.models import open_checkpoint, open_model
from prompt_tuning_recycling.prompts import load_prompt
from prompt_tuning_recycling.prompts.prompt import load_record

from ..conftest import DEMO_MODELS, IMPORTABLE, write_tiny_model
from ..converting.conftest import made_tensors, save  # noqa: F401
from ..standalone.conftest import TASK, flags
from ..sweep.conftest import content, write_config, write_prompt  # noqa: F401
from ..sweep.test_choices import write_all
from .disturbing import Server, Writer, build_shim, digest

PACKAGE = "prompt_tuning_recycling"
STANDALONE = f"{PACKAGE}.standalone"
WORDS = {"filtered_word": DEMO_MODELS / "words.json", "num_words": 300}


@pytest.fixture(scope="session")
def shim(tmp_path_factory):
    """The compiled shim."""
    path = build_shim(tmp_path_factory.mktemp("shim"))
    if path is None:
        pytest.skip("faults need Linux and a C compiler, cc or gcc")
    return path


def server_of(*modules):
    @pytest.fixture(scope="session")
    def server(shim, tmp_path_factory):
        server = Server(shim, tmp_path_factory.mktemp("server"), modules)
        yield server
        server.close()

    return server


of_files = server_of(
    f"{PACKAGE}.run_recycle", f"{PACKAGE}.convert", f"{PACKAGE}.converting", "writing"
)
of_sweeps = server_of(
    f"{PACKAGE}.recycle",
    f"{PACKAGE}.sweep.engine",
    f"{PACKAGE}.collect_recycling_results",
    f"{PACKAGE}.report",
    f"{PACKAGE}.sweep.report",
)
of_standalone = server_of(
    "tiny_tasks",
    *(
        f"{STANDALONE}.{name}"
        for name in (
            "train",
            "training",
            "eval",
            "evaluation",
            "evaluate_prompts",
            "prompt_evaluation",
            "choose",
            "choosing",
        )
    ),
)


# run_recycle


@pytest.fixture
def run_recycle(files, tmp_path):
    """A numpy file with its record, and the map."""
    out = tmp_path / "out"
    given = {**files, "save_recycler": str(out / "map")}

    def seen():
        return contents(out, "map") | with_records(out, "recycled")

    return Writer(
        f"{PACKAGE}.run_recycle",
        as_flags(given),
        out,
        inputs_of(files),
        seen,
        lambda run: run(as_flags({**given, "num_words": 100})),
    )


@pytest.fixture
def adapter(tmp_path, rng):
    """A prompt as an adapter of PEFT, in a folder."""
    np.save(tmp_path / "prompt.npy", rng.normal(size=(5, 64)).astype(np.float32))
    out = tmp_path / "out"
    given = {
        "source_model": DEMO_MODELS / "source",
        "target_model": DEMO_MODELS / "target-1",
        "prompt_path": tmp_path / "prompt.npy",
        "output_path": out / "adapter",
        "output_format": "peft",
        "recycler": "v2v-lin",
        **WORDS,
        "word_offset": 20,
    }

    def seen():
        folder = out / "adapter"
        if not folder.exists():
            return {}
        files = ("adapter_config.json", "adapter_model.safetensors")
        assert {*files, "README.md", "prompt.json"} == {
            path.name for path in folder.iterdir()
        }
        both = [*contents(folder, *files).values(), prompt_and_record(folder)]
        return {"the adapter": " ".join(both)}

    return Writer(
        f"{PACKAGE}.run_recycle",
        as_flags(given),
        out,
        inputs_of(given),
        seen,
        lambda run: run(as_flags({**given, "num_words": 100})),
    )


# convert


@pytest.fixture
def to_hugging_face(tmp_path):
    """A folder of safetensors in two files."""
    out = tmp_path / "out"
    given = {
        "from": DEMO_MODELS / "source",
        "to": out / "hf",
        "max_shard_size": "200kb",
    }

    def seen():
        if not (out / "hf").exists():
            return {}
        names = [path.name for path in (out / "hf").iterdir()]
        assert any(name.startswith("model-00002") for name in names)
        found = contents(out / "hf", *sorted(names))
        return {"the model": json.dumps(found)}

    return Writer(
        f"{PACKAGE}.convert",
        as_flags(given),
        out,
        [DEMO_MODELS / "source"],
        seen,
        replaces_nothing=True,
    )


@pytest.fixture
def to_t5x(tmp_path, save, rng):  # noqa: F811
    """A checkpoint of T5X."""
    out = tmp_path / "out"
    given = {"from": save(made_tensors(rng)), "to": out / "checkpoint_3"}

    def seen():
        step = out / "checkpoint_3"
        return {"the step": arrays_of(step)} if step.exists() else {}

    return Writer(
        f"{PACKAGE}.convert",
        as_flags(given),
        out,
        [given["from"]],
        seen,
        replaces_nothing=True,
    )


# Exports and kept prompts


@pytest.fixture
def export(tmp_path):
    """Two prompts that a run exports together."""
    out = tmp_path / "out"

    def seen():
        folder = out / "numpy_checkpoints/checkpoint_7"
        if not folder.exists():
            return {}
        arrays = [load_prompt(path).array for path in sorted(folder.iterdir())]
        return {"the export": digest(np.stack(arrays).tobytes())}

    return Writer(
        "writing",
        ["export", str(out), "2"],
        out,
        [],
        seen,
        lambda run: run(["export", str(out), "1"]),
    )


@pytest.fixture
def kept_prompt(tmp_path, files, prompt):
    """A recycled prompt that a run keeps, and replaces when the source is another."""
    out = tmp_path / "out"
    path = pathlib.Path(files["prompt_path"])
    names = ("source_model", "prompt_path", "target_model", "filtered_word")
    arguments = ["keep", str(out), *(files[name] for name in names)]

    def earlier(run):
        np.save(path, 2 * prompt)
        run(arguments)
        np.save(path, prompt)

    return Writer(
        "writing",
        arguments,
        out,
        inputs_of(files),
        lambda: with_records(out, "recycled_prompt/prompt.npy"),
        earlier,
    )


# Sweeps


@pytest.fixture
def small(content):  # noqa: F811
    """A sweep between two models, both ways: two recyclers, one run of one step."""
    for models in ("pretrained", "prompts"):
        del content[models]["Seed 1"]
    for inits in content["prompts"].values():
        del inits["class-init"], inits["rand-init"]["run 2"]
    content["steps"] = [5]
    del content["recycling_methods"]["jax-nn"]
    return content


@pytest.fixture
def sweep(small, write_config, rng, tmp_path):  # noqa: F811
    """`recycle`, where the prompts were tuned again since."""
    out = pathlib.Path(small["root_dir"])
    arguments = [f"--config={write_config(small)}"]
    tuned = sorted((tmp_path / "tuned").rglob("*.prompt"))

    def earlier(run):
        now = [path.read_bytes() for path in tuned]
        for path in tuned:
            with path.open("rb") as file:
                array = np.load(file)
            with path.open("wb") as file:
                np.save(file, 2 * array)
        run(arguments)
        for path, data in zip(tuned, now, strict=True):
            path.write_bytes(data)

    return Writer(
        f"{PACKAGE}.recycle", arguments, out, tuned, lambda: of_sweep(out), earlier
    )


@pytest.fixture
def sweep_clobber(small, write_config, tmp_path):  # noqa: F811
    """`recycle`, which learns other maps in the place of earlier ones."""
    out = pathlib.Path(small["root_dir"])
    tuned = sorted((tmp_path / "tuned").rglob("*.prompt"))
    small["clobber"] = True
    arguments = [f"--config={write_config(small)}"]

    def earlier(run):
        small["load_embeddings"]["default"]["num_words"] = 100
        write_config(small)
        run(arguments)
        small["load_embeddings"]["default"]["num_words"] = 200
        write_config(small)

    return Writer(
        f"{PACKAGE}.recycle", arguments, out, tuned, lambda: of_sweep(out), earlier
    )


@pytest.fixture
def evaluated(small, write_config, run, rng):  # noqa: F811
    """A sweep with evaluations, among whose recycled prompts one is chosen."""
    small["recycling_methods"] = {
        "choose": {"choose": {"inputs": 6}},
        "lin": {"recycler": "v2v-lin"},
        "combination": {"recycler": "lin-comb"},
        "few words": {"recycler": "v2v-lin", "load_embeddings": {"num_words": 60}},
    }
    config = write_config(small)
    assert run(recycle.main, {"config": config}) == 0
    write_all(small, rng)
    return config


def of_evaluated(module, small, evaluated, tmp_path):
    out = pathlib.Path(small["root_dir"])
    arguments = [f"--config={evaluated}"]

    def earlier(run):
        run(arguments)
        write_all(small, np.random.default_rng(2))

    return Writer(
        f"{PACKAGE}.{module}",
        arguments,
        out,
        [tmp_path / "tuned"],
        lambda: of_sweep(out),
        earlier,
    )


@pytest.fixture
def collect(small, evaluated, tmp_path):
    """`collect_recycling_results`: tables, and the chosen prompts."""
    return of_evaluated("collect_recycling_results", small, evaluated, tmp_path)


@pytest.fixture
def report(small, evaluated, tmp_path):
    """`report`: a page, and the chosen prompts."""
    return of_evaluated("report", small, evaluated, tmp_path)


def of_sweep(root):
    """Prompts and maps with their records, lists and tables and all else."""
    found = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if not path.is_file() or any(p.startswith(".") for p in name.split("/")):
            continue
        if path.parent.name in ("recycled-prompt", "learned-recyclers"):
            # Those of killed processes hold nobody up.
            if path.suffix not in (".json", ".lock"):
                found[name] = prompt_and_record(path, path.read_bytes())
        else:
            found[name] = digest(path.read_bytes())
    return found


# The standalone host


@pytest.fixture
def host(tmp_path, monkeypatch):
    """Arguments of its programs, from macros."""
    monkeypatch.syspath_prepend(IMPORTABLE)
    tiny = write_tiny_model(tmp_path / "tiny_prompt.gin", 5)

    def host(*gin_files, **macros):
        return flags([tiny, *gin_files], **{**TASK, **macros})

    return host


@pytest.fixture
def instruction(tmp_path):
    """A prompt that is an instruction in the source's embeddings."""
    pieces = sentencepiece.SentencePieceProcessor(
        model_file=str(DEMO_MODELS / "vocabulary.model")
    ).encode("verdict judge good or bad")
    table = open_model(DEMO_MODELS / "source").embeddings
    np.save(tmp_path / "instruction.npy", table.take(pieces).astype(np.float32))
    return tmp_path / "instruction.npy"


@pytest.fixture
def recycling(instruction):
    """Macros of a recycled prompt."""
    return {
        "WORD_LIST": str(DEMO_MODELS / "words.json"),
        "NUM_WORDS": 300,
        "WORD_OFFSET": 20,
        "SOURCE_CHECKPOINT": str(DEMO_MODELS / "source"),
        "SOURCE_PROMPT": str(instruction),
    }


@pytest.fixture
def train(host, tmp_path):
    """Tunes for four steps, with checkpoints, exports and evaluations."""
    out = tmp_path / "out"

    def arguments(steps=4, **macros):
        return host(
            "runs/standalone/prompt_finetune.gin",
            MIXTURE_OR_TASK_NAME="tiny_train",
            EVAL_MIXTURE_OR_TASK_NAME="tiny_ranked",
            INITIAL_CHECKPOINT_PATH=str(DEMO_MODELS / "source"),
            MODEL_DIR=str(out),
            TRAIN_STEPS_RELATIVE=steps,
            BATCH_SIZE=16,
            CHECKPOINT_PERIOD=2,
            EVAL_PERIOD=2,
            **macros,
        )

    def seen():
        found = contents(out, "config.gin", "run_start.json")
        steps = sorted(
            path for path in out.glob("checkpoint_*") if "." not in path.name
        )
        found |= {step.name: arrays_of(step) for step in steps}
        if steps:
            assert open_checkpoint(out).path.name == steps[-1].name
            found["a checkpoint"] = True
        for folder in out.glob("numpy_checkpoints/checkpoint_*"):
            (path,) = folder.iterdir()
            found[f"export {folder.name}"] = digest(load_prompt(path).array.tobytes())
        return found | measured(out, "tiny_ranked")

    return Writer(
        f"{STANDALONE}.train",
        arguments(),
        out,
        [DEMO_MODELS / "source"],
        seen,
        lambda run: run(arguments(2)),
        whole=arguments(KEEP_CHECKPOINTS=None),
        is_slow=True,
    )


@pytest.fixture
def evaluate(host, recycling, tmp_path):
    """Evaluates a recycled prompt, and keeps it."""
    out = tmp_path / "out"

    def seen():
        return (
            contents(out, "config.gin")
            | with_records(out, "recycled_prompt/prompt.npy")
            | measured(out, "tiny_ranked")
        )

    return Writer(
        f"{STANDALONE}.eval",
        host(
            "recycle_init.gin",
            "runs/standalone/eval.gin",
            MIXTURE_OR_TASK_NAME="tiny_ranked",
            INITIAL_CHECKPOINT_PATH=str(DEMO_MODELS / "target-1"),
            EVAL_OUTPUT_DIR=str(out),
            **recycling,
        ),
        out,
        [DEMO_MODELS / "target-1", pathlib.Path(recycling["SOURCE_PROMPT"])],
        seen,
        is_slow=True,
    )


@pytest.fixture
def evaluate_prompts(host, instruction, tmp_path):
    """Evaluates and scores the prompts of a manifest, of which one was tuned again."""
    out = tmp_path / "out"
    entries = [
        Evaluation(str(out / "none"), no_prompt=True),
        Evaluation(str(out / "tuned"), prompt=str(instruction)),
    ]
    arguments = host(
        "runs/standalone/evaluate_prompts.gin",
        MIXTURE_OR_TASK_NAME="tiny_ranked",
        INITIAL_CHECKPOINT_PATH=str(DEMO_MODELS / "source"),
        PROMPT_MANIFEST=str(out / "manifest.json"),
        BATCH_SIZE=16,
    )
    drawing = Drawing(8, "train", 0)
    # In the folder of outputs, since locks are beside it.
    manifest.write(out / "manifest.json", entries, [drawing])

    def earlier(run):
        now = instruction.read_bytes()
        np.save(instruction, -5 * np.load(instruction))
        run(arguments)
        instruction.write_bytes(now)

    def seen():
        found = contents(out, "manifest.json")
        for entry in entries:
            folder = pathlib.Path(entry.output_dir)
            of_task = measured(folder, "tiny_ranked")
            if (folder / "inference_eval").exists():
                text = json.dumps(of_task) + str(metrics_file.read_prompt(str(folder)))
                assert of_task
                found[f"{folder.name}: metrics"] = text
            scores = contents(folder / "unlabeled-scores", "train-8-0.json")
            found |= {f"{folder.name}: {name}": data for name, data in scores.items()}
        return found

    return Writer(
        f"{STANDALONE}.evaluate_prompts",
        arguments,
        out,
        [DEMO_MODELS / "source", instruction],
        seen,
        earlier,
        is_slow=True,
    )


@pytest.fixture
def choose(host, recycling, tmp_path, instruction):
    """Chooses a prompt, of two candidates."""
    out = tmp_path / "out"

    def arguments(number):
        return host(
            "runs/standalone/choose.gin",
            MIXTURE_OR_TASK_NAME="tiny_ranked",
            INITIAL_CHECKPOINT_PATH=str(DEMO_MODELS / "target-1"),
            CHOOSE_OUTPUT_DIR=str(out),
            CANDIDATES=("v2v-lin", "copy"),
            NUM_UNLABELED=number,
            **recycling,
        )

    def seen():
        chosen = out / "chosen"
        names = ["prompt.npy", "candidates/v2v-lin.npy", "candidates/copy.npy"]
        return (
            contents(out, "config.gin")
            | contents(chosen, "choice.svg", "teacher.json")
            | with_records(chosen, *names)
        )

    return Writer(
        f"{STANDALONE}.choose",
        arguments(16),
        out,
        [DEMO_MODELS / "target-1", instruction],
        seen,
        lambda run: run(arguments(8)),
        is_slow=True,
    )


# What readers see


def prompt_and_record(path, data=None):
    """A prompt, or other bytes, and what its record says, timings apart."""
    text = json.dumps(_untimed(load_record(path)), sort_keys=True)
    data = load_prompt(path).array.tobytes() if data is None else data
    return f"{digest(data)} {digest(text.encode())}"


def _untimed(value):
    if isinstance(value, dict):
        return {k: _untimed(v) for k, v in value.items() if k != "seconds"}
    return [_untimed(one) for one in value] if isinstance(value, list) else value


def with_records(folder, *names):
    """name -> prompt and record, of the prompts that are there."""
    return {
        f"{name} and its record": prompt_and_record(folder / name)
        for name in names
        if (folder / name).exists()
    }


def contents(folder, *names):
    """name -> content of the files that are there."""
    return {
        name: digest((folder / name).read_bytes())
        for name in names
        if (folder / name).exists()
    }


def arrays_of(step):
    """All arrays of a step, and the names of its files but those with random names."""
    checkpoint = open_checkpoint(step)
    arrays = [f"{n}: {digest(checkpoint.read(n).tobytes())}" for n in checkpoint.keys()]
    files = {path.name for path in step.rglob("*") if len(path.name) < 32}
    return digest(json.dumps([sorted(arrays), sorted(files)]).encode())


def measured(folder, task):
    """step -> what a run has measured."""
    path = pathlib.Path(metrics_file.place(str(folder), task))
    if not path.exists():
        return {}
    return {
        f"metrics of step {line['step']}": json.dumps(line)
        for line in metrics_file.read(path)
    }


def as_flags(given):
    return [
        f"--{name}={os.fspath(value) if isinstance(value, os.PathLike) else value}"
        for name, value in given.items()
    ]


def inputs_of(given):
    names = ("source_model", "target_model", "prompt_path", "filtered_word")
    return [pathlib.Path(given[name]) for name in names]
