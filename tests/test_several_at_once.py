"""Several commands at once on one output: one is refused, waits, or joins the other,
and what comes out is never a mixture.
"""

import fcntl
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import threading

import pytest

from prompt_tuning_recycling import (
    collect_recycling_results,
    convert,
    report,
    run_recycle,
)
from prompt_tuning_recycling.files import holding
from prompt_tuning_recycling.maps import load_map
from prompt_tuning_recycling.prompts.prompt import load_record
from prompt_tuning_recycling.sweep import configuration, layout, results
from prompt_tuning_recycling.sweep.engine import Engine
from prompt_tuning_recycling.sweep.plan import Plan

from .conftest import IMPORTABLE, importable_environment
from .converting.conftest import made_tensors, save  # noqa: F401
from .sweep.conftest import content, tree, write_config  # noqa: F401

# How many sweep commands at once; `make several` starts sixteen.
AT_ONCE = int(os.environ.get("PROMPT_RECYCLING_AT_ONCE", "4"))
HERE = rf"process {os.getpid()} on \S+ \(.*\), since \d{{4}}-"


def files_in(folder):
    return {p: p.read_bytes() for p in pathlib.Path(folder).rglob("*") if p.is_file()}


def hold(place):
    return holding.held(place, "a test is at work", "Wait.")


@pytest.mark.parametrize("spelled", ["{}", "./x/../{}"])
def test_two_that_recycle_to_one_output(files, run, tmp_path, capsys, spelled):
    output = pathlib.Path(files["output_path"])
    output.parent.mkdir()
    (output.parent / "x").mkdir()
    files["output_path"] = f"{output.parent}/{spelled.format(output.name)}"
    with hold(f"{output}.lock"):
        before = files_in(tmp_path)
        assert run(run_recycle.main, files) == 1
        assert files_in(tmp_path) == before
    (line,) = capsys.readouterr().err.splitlines()
    assert re.match(rf"error: another run is at work on .*recycled: {HERE}", line)
    assert "Wait until it ends, or choose another output path." in line
    assert run(run_recycle.main, files) == 0
    assert sorted(os.listdir(output.parent)) == ["recycled", "recycled.json", "x"]


def test_what_is_called_like_the_lock_is_not_lost(files, run, tmp_path, capsys):
    """`out.lock` is recycled to `out`, or the map is written to it."""
    output = str(tmp_path / "out")
    mapped = {**files, "output_path": output, "save_recycler": f"{output}.lock"}
    assert run(run_recycle.main, mapped) == 1
    assert "the lock beside --output_path" in capsys.readouterr().err
    prompt = pathlib.Path(files["prompt_path"]).rename(tmp_path / "out.lock")
    before = prompt.read_bytes()
    files |= {"prompt_path": str(prompt), "output_path": output}
    assert run(run_recycle.main, files) == 1
    assert "is the same as --prompt_path" in capsys.readouterr().err
    assert prompt.read_bytes() == before


def test_two_that_convert_to_one_folder(tmp_path, run, capsys, save, rng):  # noqa: F811
    flags = {
        "from": str(save(made_tensors(rng))),
        "to": str(tmp_path / "out/checkpoint_5"),
    }
    with hold(f"{flags['to']}.lock"):
        assert run(convert.main, flags) == 1
    error = capsys.readouterr().err
    assert re.search(rf"another conversion writes .*checkpoint_5: {HERE}", error)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", [collect_recycling_results, report])
def test_what_collects_results_waits_its_turn(
    sweep_content, sweep_config, run, monkeypatch, command
):
    """Two tables of one command are of one reading of the results."""
    root = pathlib.Path(sweep_content["root_dir"])
    waits, order, codes = threading.Event(), [], []
    flock, read = fcntl.flock, results.read

    def seen(descriptor, how):
        if how == fcntl.LOCK_EX:
            waits.set()
        flock(descriptor, how)

    def reading(*args, **kwargs):
        order.append("read")
        return read(*args, **kwargs)

    monkeypatch.setattr(results, "read", reading)
    thread = threading.Thread(
        target=lambda: codes.append(run(command.main, {"config": str(sweep_config)}))
    )
    with hold(layout.collecting(str(root))):
        monkeypatch.setattr(fcntl, "flock", seen)
        thread.start()
        assert waits.wait(60)
        order.append("released")
    thread.join(60)
    assert codes == [0] and order == ["released", "read"]
    assert [path for path in root.iterdir() if path.is_file()]


def at_once(number, *configs):
    done = subprocess.run(
        [sys.executable, "-m", "sweeps_at_once", str(number), *map(str, configs)],
        capture_output=True,
        text=True,
        env={**importable_environment(), "OPENBLAS_NUM_THREADS": "1"},
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    codes = re.search(r"^codes (.*)$", done.stdout, re.MULTILINE)[1].split()
    return [int(code) for code in codes], done


@pytest.mark.slow
@pytest.mark.thorough
def test_many_sweeps_on_one_folder(content, write_config):  # noqa: F811
    del content["recycling_methods"]["jax-nn"]
    config = write_config(content)
    root = content["root_dir"]
    assert at_once(1, config)[0] == [0]
    expected = tree(root)
    shutil.rmtree(root)
    codes, done = at_once(AT_ONCE, config)
    assert codes == [0] * AT_ONCE, done.stderr
    assert tree(root) == expected
    # Those that a command did itself or joined: of 6 pairs of models and 2 recyclers.
    fitted = [int(n) for n in re.findall(r"(\d+) newly learned maps", done.stdout)]
    assert len(fitted) == AT_ONCE and 0 < max(fitted) <= 12
    assert not list(pathlib.Path(root).rglob("*.lock"))


@pytest.mark.slow
def test_two_sweeps_that_disagree(content, write_config, tmp_path):  # noqa: F811
    """Of the same names and other words: whoever is first has a map and its prompts."""
    del content["recycling_methods"]["jax-nn"]
    paths = []
    for number in (200, 150):
        content["load_embeddings"]["default"]["num_words"] = number
        path = pathlib.Path(write_config(content))
        paths.append(path.rename(tmp_path / f"{number}.json"))
    codes, done = at_once(AT_ONCE, *paths)
    assert set(codes) <= {0, 1} and 1 in codes
    assert "was fitted before with other settings: the words" in done.stderr
    counts = set()
    for pair in Plan(configuration.load(paths[0])).pairs():
        for fit in pair.fits:
            record = json.loads(pathlib.Path(f"{fit.path}.json").read_text())
            assert load_map(fit.path)
            for item in fit.items:
                # Its digest is checked, too.
                of_prompt = load_record(item.output)
                assert of_prompt["words"] == record["words"]
                assert of_prompt["residual"] == record["residual"]
            counts.add(record["words"]["fitted"])
    assert counts <= {200, 150}


@pytest.mark.slow
def test_a_worker_that_dies_while_it_holds_work(tmp_path, monkeypatch):
    """Its lock is released, and another worker does the work."""
    monkeypatch.syspath_prepend(IMPORTABLE)
    monkeypatch.setenv("PYTHONPATH", str(IMPORTABLE), prepend=os.pathsep)
    import dying

    ((key, process),) = Engine(str(tmp_path / "sweep"), workers=2).run(
        dying.work, {"piece": str(tmp_path)}
    )
    assert key == "piece"
    assert (tmp_path / "done").read_text() == str(process)
    assert not (tmp_path / "map.lock").exists()
