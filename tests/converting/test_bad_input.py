"""What cannot be converted, and outputs that are in the way. Nothing is left behind."""

import json
import os
import signal

import numpy as np
import pytest

from prompt_tuning_recycling import RecyclingError
from prompt_tuning_recycling import convert as command
from prompt_tuning_recycling.converting import convert

from ..conftest import (
    DEMO_MODELS,
    EMBEDDING,
    PROMPT,
)
from ..programs import stop_at
from .conftest import made_tensors, stored

SOURCE = DEMO_MODELS / "source"


@pytest.fixture
def hf(rng, save):
    return save(made_tensors(rng))


@pytest.fixture
def step(hf, tmp_path):
    return convert(hf, tmp_path / "t5x/checkpoint_3").path


def fails(message, origin, path, **options):
    with pytest.raises(RecyclingError, match=message):
        convert(origin, path, **options)


@pytest.mark.parametrize("kind", ["file", "folder", "link"])
def test_an_output_that_exists(hf, tmp_path, kind):
    output = tmp_path / "checkpoint_0"
    if kind == "file":
        output.write_text("mine")
    elif kind == "folder":
        output.mkdir()
    else:
        output.symlink_to(tmp_path / "nowhere")
    fails("exists already, and a conversion replaces nothing", hf, output)
    assert os.listdir(tmp_path).count("nowhere") == 0
    if kind == "file":
        assert output.read_text() == "mine"


def test_the_other_steps_of_a_run_stay(hf, step):
    before = step / "state/manifest.ocdbt"
    content = before.read_bytes()
    convert(hf, step.parent, step=4)
    assert sorted(os.listdir(step.parent)) == ["checkpoint_3", "checkpoint_4"]
    assert before.read_bytes() == content
    fails("exists already", hf, step.parent, step=3)


@pytest.mark.parametrize("place", ["checkpoint_0", "deeper/checkpoint_0"])
def test_an_output_inside_of_what_is_read(hf, place):
    fails("--to .* lies inside --from", hf, hf / place)
    assert len(os.listdir(hf)) == 2


def test_an_output_inside_of_a_step(step):
    fails("--to .* lies inside --from", step, step / "hf")
    # The MODEL_DIR may get more.
    assert convert(step.parent, step.parent / "hf").files == 1


def test_an_output_on_an_object_store(hf):
    fails("object stores cannot rename", hf, "gs://bucket/checkpoint_0")


@pytest.mark.thorough
@pytest.mark.parametrize("which", ["from_hf", "from_t5x"])
def test_killed_before_it_is_complete(hf, step, tmp_path, which, start_program):
    origin, name = {
        "from_hf": (hf, "checkpoint_8"),
        "from_t5x": (step, "made"),
    }[which]
    output = tmp_path / "out" / name
    module = "prompt_tuning_recycling.convert"
    # Its temporary folder is beside it, and its name has the output's.
    stopped = start_program(
        module,
        [f"--from={origin}", f"--to={output}"],
        stop_at("kill", "os.rename", 1, str(output)),
    )
    assert stopped.end().code == -signal.SIGKILL
    assert not output.exists()
    temporary, lock = sorted(os.listdir(output.parent))
    assert temporary.startswith(f".{name}.") and temporary.endswith(".tmp")
    assert lock == f"{name}.lock"
    if which == "from_hf":
        fails("holds no complete one", output.parent, tmp_path / "again")
    convert(origin, output)
    assert not (output.parent / lock).exists()


@pytest.mark.parametrize("ocdbt", [True, False])
def test_a_damaged_checkpoint(step, tmp_path, write_orbax, ocdbt):
    from prompt_tuning_recycling.models import open_checkpoint

    checkpoint = open_checkpoint(step)
    arrays = {name: checkpoint.read(name) for name in checkpoint.keys()}
    copy = write_orbax(tmp_path / "copy/checkpoint_3", arrays, ocdbt=ocdbt)
    if ocdbt:
        # All of them, as the database may refer to any, and not to all.
        for path in copy.rglob("d/*"):
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])
    else:
        (chunk,) = copy.glob("state/target.encoder.layers_1.mlp.wo.kernel/0.0")
        chunk.unlink()
    output = tmp_path / "out/hf"
    fails("damaged|cannot be read", copy, output)
    assert not output.exists()
    assert not output.parent.exists() or not os.listdir(output.parent)


def test_a_truncated_model(hf, tmp_path):
    file = hf / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-8])
    fails("is damaged", hf, tmp_path / "checkpoint_0")
    assert os.listdir(tmp_path) == ["hf"]


def test_a_full_disk_leaves_nothing(hf, tmp_path, monkeypatch):
    from prompt_tuning_recycling.converting import to_t5x

    def write(folder, arrays):
        (folder / "state").mkdir()
        raise OSError(28, "No space left on device", str(folder))

    monkeypatch.setattr(to_t5x.orbax_writing, "write", write)
    fails("No space left on device. Nothing is left of it", hf, tmp_path / "out/run")
    assert not (tmp_path / "out").exists()


def test_a_prompt_has_no_place(tmp_path, step, write_orbax, rng):
    from prompt_tuning_recycling.models import open_checkpoint

    checkpoint = open_checkpoint(step)
    arrays = {name: checkpoint.read(name) for name in checkpoint.keys()}
    prompt = rng.normal(size=(5, 12)).astype(np.float32)
    tuned = write_orbax(tmp_path / "checkpoint_9", {**arrays, PROMPT: prompt})
    fails("holds a prompt, .* --drop_prompts leaves it out", tuned, tmp_path / "hf2")
    done = convert(tuned, tmp_path / "hf2", drop_prompts=True)
    assert done.notes[0] == "the prompt encoder/prompt/prompt/prompt is left out"
    assert stored(done.path) == stored(convert(step, tmp_path / "hf3").path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "umt5"}, "position biases in every layer"),
        ({"model_type": "llama"}, "cannot be converted: expected a checkpoint of T5X"),
        (
            {"num_layers": 3},
            "lacks 9 of the model's .* Expected the parameters of a T5",
        ),
        ({"num_layers": 1}, "holds 9 parameters that the model does not have"),
        ({"d_ff": 21}, "but the model expects"),
        ({"relative_attention_num_buckets": 64}, "this package's network has 32"),
    ],
)
def test_other_models(hf, tmp_path, changes, message):
    config = json.loads((hf / "config.json").read_text())
    (hf / "config.json").write_text(json.dumps({**config, **changes}))
    fails(message, hf, tmp_path / "checkpoint_0")
    assert os.listdir(tmp_path) == ["hf"]


def test_a_model_without_its_configuration(hf, tmp_path):
    (hf / "config.json").unlink()
    fails("has no config.json beside it", hf, tmp_path / "checkpoint_0")


def test_a_checkpoint_that_is_no_whole_model(tmp_path, write_orbax, target_table):
    only = write_orbax(tmp_path / "checkpoint_1", {EMBEDDING: target_table})
    fails("expected the parameters of a T5 network", only, tmp_path / "hf")


def test_an_array(tmp_path, target_table):
    np.save(tmp_path / "table.npy", target_table)
    fails("cannot be converted: expected", tmp_path / "table.npy", tmp_path / "hf")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"activation": "relu"}, "1 branches, but those of .* have 2"),
        ({"activation": "tanh"}, "--activation: expected one of relu, silu"),
        ({"step": 4}, "Leave out --step"),
    ],
)
def test_options_for_a_folder(step, tmp_path, options, message):
    fails(message, step, tmp_path / "hf4", **options)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("checkpoint_5", {"step": 4}, "name of step 5, but step 4 was asked for"),
        ("run", {"step": -1}, "expected a number from 0 to"),
        ("run", {"step": 2**31}, "expected a number from 0 to"),
        ("run", {"activation": "relu"}, "Leave out --activation"),
        ("run", {"drop_prompts": True}, "Leave out --drop_prompts"),
    ],
)
def test_options_for_a_step(hf, tmp_path, name, options, message):
    fails(message, hf, tmp_path / name, **options)
    assert os.listdir(tmp_path) == ["hf"]


def test_the_command(run, capsys, tmp_path):
    output = tmp_path / "hf"
    flags = {"from": str(SOURCE), "to": str(output), "max_shard_size": "100kb"}
    assert run(command.main, flags) == 0
    shown = capsys.readouterr().out
    assert "note: the activation is taken to be gated-gelu" in shown
    assert f"wrote {output}: 52 parameters in " in shown
    assert "emb_dim=64 num_heads=4" in shown
    assert run(command.main, flags) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: cannot write") and len(error.splitlines()) == 1


@pytest.mark.parametrize("size", ["0", "-1", "1.5GB", "12 stones", "GB"])
def test_sizes_that_are_none(run, capsys, tmp_path, size):
    flags = {"from": str(SOURCE), "to": str(tmp_path / "hf"), "max_shard_size": size}
    assert run(command.main, flags) == 2
    assert "expected a number of bytes" in capsys.readouterr().err
