"""A run's checkpoints: T5X's layout, which are kept, and what is never read."""

import asyncio
import gc
import os
import re
import resource
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from prompt_tuning_recycling import RecyclingError, load_prompt
from prompt_tuning_recycling.files import as_path
from prompt_tuning_recycling.models import open_checkpoint
from prompt_tuning_recycling.models import steps as read_steps
from prompt_tuning_recycling.standalone import optimizers, orbax_errors, steps

from ..conftest import importable_environment

PROMPT = "encoder/prompt/prompt/prompt"
KERNEL = "decoder/logits_dense/kernel"


@pytest.fixture
def named(rng):
    return {
        PROMPT: jnp.asarray(rng.normal(size=(5, 12)), jnp.float32),
        KERNEL: jnp.asarray(rng.normal(size=(12, 40)), jnp.float32),
    }


@pytest.fixture
def state(named, rng):
    optimizer = optimizers.adafactor()
    trained = {PROMPT: named[PROMPT]}
    state = optimizers.start(optimizer, trained, 1600)
    gradients = {PROMPT: jnp.asarray(rng.normal(size=(5, 12)), jnp.float32)}
    return optimizer.update(gradients, state, trained)[1]


@pytest.fixture
def fresh(named):
    return optimizers.start(optimizers.adafactor(), {PROMPT: named[PROMPT]}, 0)


def save(model_dir, named, state, *numbers, keep=None, dtype="float32"):
    saver = steps.Saver(model_dir, keep, dtype)
    for step in numbers:
        saver.save(step, named, state)
    saver.close()


def test_a_step_has_the_layout_of_t5x(tmp_path, named, state):
    save(tmp_path, named, state, 1610)
    step = tmp_path / "checkpoint_1610"
    assert (step / "state/manifest.ocdbt").is_file()
    checkpoint = open_checkpoint(step)
    names = set(checkpoint.keys())
    assert {f"target/{PROMPT}", f"target/{KERNEL}", "state/step"} <= names
    assert f"state/param_states/0/v/{PROMPT}" in names
    # The prompt has an optimizer's state, and nothing else.
    assert not [name for name in names if "param_states" in name and KERNEL in name]
    assert checkpoint.read("state/step") == 1610
    np.testing.assert_array_equal(load_prompt(step).array, named[PROMPT])
    np.testing.assert_array_equal(checkpoint.read(f"target/{KERNEL}"), named[KERNEL])


def test_the_optimizers_state_comes_back_to_the_bit(tmp_path, named, state, fresh):
    save(tmp_path, named, state, 1610)
    restored = steps.restore_optimizer(steps.latest(tmp_path), fresh)
    assert jax.tree.structure(restored) == jax.tree.structure(state)
    jax.tree.map(np.testing.assert_array_equal, restored, state)


def test_only_parameters_are_saved_narrower(tmp_path, named, state, fresh):
    save(tmp_path, named, state, 1610, dtype="bfloat16")
    checkpoint = steps.latest(tmp_path)
    assert checkpoint.checkpoint.read(f"target/{PROMPT}").dtype.name == "bfloat16"
    restored = steps.restore_optimizer(checkpoint, fresh)
    jax.tree.map(np.testing.assert_array_equal, restored, state)


@pytest.mark.parametrize(("keep", "left"), [(1, [3]), (2, [2, 3]), (None, [1, 2, 3])])
def test_the_newest_are_kept(tmp_path, named, state, keep, left):
    save(tmp_path, named, state, 1, 2, 3, keep=keep)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"checkpoint_{step}" for step in left
    ]


def test_a_step_that_exists_stays_as_it_is(tmp_path, named, state):
    save(tmp_path, named, state, 1)
    before = (tmp_path / "checkpoint_1/_CHECKPOINT_METADATA").read_bytes()
    save(tmp_path, {**named, PROMPT: 2 * named[PROMPT]}, state, 1)
    assert (tmp_path / "checkpoint_1/_CHECKPOINT_METADATA").read_bytes() == before
    np.testing.assert_array_equal(load_prompt(tmp_path).array, named[PROMPT])


def test_before_the_first_step_there_is_none(tmp_path):
    assert steps.latest(tmp_path) is None
    assert steps.latest(tmp_path / "nowhere") is None


def test_a_step_that_is_being_written_is_never_read(tmp_path, named, state):
    save(tmp_path, named, state, 1)
    half = tmp_path / "checkpoint_2.orbax-checkpoint-tmp"
    half.mkdir()
    (half / "state").mkdir()
    assert steps.latest(tmp_path).path.name == "checkpoint_1"
    # And is cleaned away by the run that goes on.
    save(tmp_path, named, state, 3)
    assert not half.exists()
    assert steps.latest(tmp_path).path.name == "checkpoint_3"


@pytest.mark.parametrize(
    "other",
    [
        optax.adam(0.1),
        optax.chain(optax.clip(1.0), optimizers.adafactor()),
    ],
    ids=["another optimizer", "with clipping"],
)
def test_the_state_of_another_optimizer_is_reported(tmp_path, named, state, other):
    save(tmp_path, named, state, 1)
    fresh = other.init({PROMPT: named[PROMPT]})
    with pytest.raises(RecyclingError, match="written by a run with another optimizer"):
        steps.restore_optimizer(steps.latest(tmp_path), fresh)


def test_the_state_for_a_prompt_of_another_shape_is_reported(tmp_path, named, state):
    save(tmp_path, named, state, 1)
    fresh = optimizers.adafactor().init({PROMPT: jnp.zeros((6, 12))})
    with pytest.raises(RecyclingError, match="first difference: a shape"):
        steps.restore_optimizer(steps.latest(tmp_path), fresh)


def test_a_full_disk_is_one_message_and_earlier_steps_stay(tmp_path, named, state):
    saver = steps.Saver(tmp_path, keep=1)
    saver.save(1610, named, state)
    before = open_checkpoint(tmp_path).read("target/" + KERNEL)
    large = {KERNEL: np.random.default_rng(0).normal(size=(500, 500))}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    # As if the disk were full after so many bytes of a file.
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(
            RecyclingError,
            match="cannot write checkpoint 1620 to .*File too large. Earlier steps are",
        ) as failed:
            saver.save(1620, large, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "\n" not in str(failed.value)
    assert open_checkpoint(tmp_path).path.name == "checkpoint_1610"
    np.testing.assert_array_equal(
        open_checkpoint(tmp_path).read("target/" + KERNEL), before
    )
    # With room again, the run goes on where it was.
    again = steps.Saver(tmp_path, keep=1)
    again.save(1620, large, {})
    again.close()
    assert open_checkpoint(tmp_path).path.name == "checkpoint_1620"


def test_old_steps_whose_removal_failed_are_removed_later(tmp_path, named, state):
    save(tmp_path, named, state, 1, 2, 3)
    steps.Saver(tmp_path, keep=2).close()
    assert list(read_steps.steps(as_path(tmp_path))) == [2, 3]
    assert sorted(os.listdir(tmp_path)) == ["checkpoint_2", "checkpoint_3"]


FILLS_THE_DISK = """
import resource, sys
import numpy as np
from prompt_tuning_recycling import command_line
from prompt_tuning_recycling.standalone import steps

def main(arguments):
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    rng = np.random.default_rng(0)
    large = {f"layers_{n}/kernel": rng.normal(size=(200, 200)) for n in range(20)}
    steps.Saver(sys.argv[1], keep=1).save(1, large, {})

sys.exit(command_line.run(main))
"""


@pytest.mark.slow
def test_a_full_disk_is_one_line(tmp_path):
    """Orbax's threads print a page each, and tensorstore one for each array."""
    ended = subprocess.run(
        [sys.executable, "-P", "-c", FILLS_THE_DISK, str(tmp_path)],
        env={**importable_environment(), "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1
    assert re.fullmatch(r"error: cannot write checkpoint 1 .*room, .*\n", ended.stderr)


@pytest.mark.parametrize("package", ["orbax/checkpoint", "another"])
def test_a_task_that_fails_unseen_is_reported_but_for_orbax_tasks(caplog, package):
    """Of two arrays that fail at once, Orbax raises the error of the first."""
    names = {}
    code = "async def write():\n  raise ValueError('no room')"
    exec(compile(code, f"/packages/{package}/write.py", "exec"), names)

    async def fails_unseen():
        asyncio.get_running_loop().create_task(names["write"]())
        await asyncio.sleep(0.001)
        gc.collect()

    with orbax_errors.raised_only():
        asyncio.run(fails_unseen())
    assert ("never retrieved" in caplog.text) == (package == "another")


@pytest.mark.parametrize("file", ["checkpoint_1.orbax-checkpoint-tmp/state", "another"])
def test_a_future_that_fails_unseen_is_reported_but_for_orbax_files(caplog, file):
    """Of two arrays that fail at once, the other one's task may be canceled first."""

    async def fails_unseen():
        future = asyncio.get_running_loop().create_future()
        future.set_exception(ValueError(f"no room for {file}"))
        del future
        gc.collect()

    with orbax_errors.raised_only():
        asyncio.run(fails_unseen())
    assert ("never retrieved" in caplog.text) == (file == "another")


def test_a_step_that_is_not_whole_is_renamed_and_written_again(
    tmp_path, named, state, caplog
):
    """As after a copy that was stopped. Orbax takes it for the newest step."""
    save(tmp_path, named, state, 1)
    broken = tmp_path / "checkpoint_10"
    broken.mkdir()
    (broken / "left").touch()
    save(tmp_path, named, state, 5, 10)
    assert list(read_steps.steps(as_path(tmp_path))) == [1, 5, 10]
    assert (tmp_path / "checkpoint_10.incomplete" / "left").exists()
    assert "renamed" in caplog.text
