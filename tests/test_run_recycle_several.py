"""`run_recycle` from several source models, each with its prompt."""

import json
import pathlib

import numpy as np
import pytest

from prompt_tuning_recycling import command_line, load_prompt, run_recycle
from prompt_tuning_recycling.prompts.prompt import load_record


@pytest.fixture
def flags(files, tmp_path, rng):
    """Flags of a run from two models, the second one narrower; name -> values."""
    np.save(tmp_path / "narrow.npy", rng.normal(size=(384, 7)).astype(np.float32))
    np.save(tmp_path / "of-narrow.npy", rng.normal(size=(5, 7)).astype(np.float32))
    several = {name: [value] for name, value in files.items()}
    several["source_model"].append(str(tmp_path / "narrow.npy"))
    several["prompt_path"].append(str(tmp_path / "of-narrow.npy"))
    return several


def recycled(flags, *more):
    """Runs with each flag as often as it has values; returns the exit code."""
    repeated = [f"--{name}={value}" for name in flags for value in flags[name]]
    return command_line.run(run_recycle.main, [*repeated, *more])


def test_writes_the_mean_of_what_each_gives(flags, tmp_path):
    assert recycled(flags) == 0
    (output,) = flags["output_path"]
    alone = []
    for place in range(2):
        one = {**flags, "output_path": [str(tmp_path / f"alone-{place}")]}
        for name in ("source_model", "prompt_path"):
            one[name] = [flags[name][place]]
        assert recycled(one) == 0
        (path,) = one["output_path"]
        alone.append(load_prompt(path).array.astype(np.float64))
        part, record = load_record(output)["mean_of"][place], load_record(path)
        for untimed in (part, record):
            del untimed["seconds"]
        assert part == {k: v for k, v in record.items() if k != "file_sha256"}
    expected = np.mean(alone, axis=0).astype(np.float32)
    np.testing.assert_array_equal(load_prompt(output).array, expected)


def test_a_flag_may_take_several_values(flags, capsys):
    assert recycled(flags) == 0
    (output,) = map(pathlib.Path, flags["output_path"])
    repeated = output.read_bytes()
    output.unlink()
    at_once = ["--source_model", *flags.pop("source_model")]
    at_once += ["--prompt_path", *flags.pop("prompt_path")]
    assert recycled(flags, *at_once, "--report") == 0
    assert output.read_bytes() == repeated
    report = capsys.readouterr().out
    assert report.count("Prompt          ") == 2
    assert "Mean of 2 recycled prompts" in report


def second(flags, name, value):
    return {**flags, name: [flags[name][0], str(value)]}


def save(path, array):
    np.save(path, array)
    return path


# Each entry: the flags, of those above and a folder, and what the message says.
MISTAKES = {
    "a prompt too few": (
        lambda f, d: {**f, "prompt_path": f["prompt_path"][:1]},
        "found 2 source models and 1 prompts",
    ),
    "a prompt too many": (
        lambda f, d: {**f, "source_model": f["source_model"][:1]},
        "found 1 source models and 2 prompts",
    ),
    "prompts of several lengths": (
        lambda f, d: second(
            f, "prompt_path", save(d / "short.npy", np.ones((3, 7), np.float32))
        ),
        "short.npy has shape [3, 7]",
    ),
    "prompts in the wrong order": (
        lambda f, d: {**f, "prompt_path": f["prompt_path"][::-1]},
        "a prompt works only with the model it was tuned on",
    ),
    "one model is not there": (
        lambda f, d: second(f, "source_model", d / "gone"),
        "gone does not exist",
    ),
    "one prompt is not there": (
        lambda f, d: second(f, "prompt_path", d / "gone.npy"),
        "gone.npy does not exist",
    ),
    "paths in one text": (
        lambda f, d: {**f, "source_model": [",".join(f["source_model"])] * 2},
        "does not exist",
    ),
    "output in place of the second model": (
        lambda f, d: {**f, "output_path": f["source_model"][1:]},
        "--output_path",
    ),
    "output inside the second model": (
        lambda f, d: {
            **second(f, "source_model", d / "source/checkpoint_7"),
            "output_path": [str(d / "source/checkpoint_7/recycled")],
        },
        "lies inside --source_model",
    ),
    "output in place of the second prompt": (
        lambda f, d: {**f, "output_path": f["prompt_path"][1:]},
        "is the same as --prompt_path",
    ),
    "output in place of the second prompt's record": (
        lambda f, d: {
            **f,
            "output_path": [str(save(d / "o.json.npy", 0).rename(f"{d}/a.json"))],
            "prompt_path": [
                f["prompt_path"][0],
                str(pathlib.Path(f["prompt_path"][1]).rename(d / "a")),
            ],
        },
        "is the same as the record beside --prompt_path",
    ),
    "one map of several": (
        lambda f, d: {**f, "save_recycler": [str(d / "map")]},
        "--save_recycler: expected one source model, found 2",
    ),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes(flags, tmp_path, capsys, case):
    change, message = MISTAKES[case]
    changed = change(flags, tmp_path)
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    assert recycled(changed) == 1
    error = capsys.readouterr().err
    assert message.lower() in error.lower()
    assert len([line for line in error.splitlines() if "error:" in line]) == 1
    after = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    assert after == before


def test_a_model_listed_twice_with_two_prompts(flags, tmp_path, rng):
    """The mean over two tunings of one model."""
    other = save(tmp_path / "other.npy", rng.normal(size=(5, 12)).astype(np.float32))
    flags["source_model"] = flags["source_model"][:1] * 2
    flags["prompt_path"][1] = str(other)
    assert recycled(flags) == 0
    record = json.loads(pathlib.Path(flags["output_path"][0] + ".json").read_text())
    sources = [part["source"]["path"] for part in record["mean_of"]]
    assert sources[0] == sources[1]
