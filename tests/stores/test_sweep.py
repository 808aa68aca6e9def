"""A sweep whose folder, models and prompts are on a store: what it writes, its workers,
and its tables and report, are those of the same sweep on a disk.
"""

import json
import os
import signal
import subprocess
import sys
import threading

import pytest

from prompt_tuning_recycling import collect_recycling_results, recycle, report

from ..sweep.conftest import (  # noqa: F401
    content,
    tree,
    write_config,
)
from .proxy import Fault

pytestmark = pytest.mark.slow
ALL = os.environ.get("STORES") == "all"


@pytest.fixture
def small(content):  # noqa: F811
    """The sweep of the other tests, without its slowest parts."""
    for models in (content["pretrained"], content["prompts"]):
        models.pop("Large")
    del content["recycling_methods"]["jax-nn"]
    return content


def moved(value, old, new):
    """A configuration for a copy of all its files elsewhere."""
    return json.loads(json.dumps(value).replace(str(old), new))


def on_store(store, folder="sweep"):
    """As `tree`, of a folder on a store."""
    found = {}
    for name in store.names(folder):
        data = store.read(name)
        if "learned-recyclers" in name and name.endswith(".json"):
            record = json.loads(data)
            del record["seconds"]
            data = json.dumps(record).encode()
        found[name.removeprefix(f"{folder}/")] = data
    return found


@pytest.fixture
def uploaded(small, store, tmp_path, write_config):  # noqa: F811
    """The configurations of the sweep on the disk and of its copy in the bucket."""
    local = write_config(small)
    store.upload(tmp_path / "models", "models")
    store.upload(tmp_path / "tuned", "tuned")
    remote = tmp_path / "remote.json"
    bucket = store.url("").rstrip("/")
    remote.write_text(
        json.dumps(
            {
                **moved(small, tmp_path, bucket),
                "load_embeddings": small["load_embeddings"],
            }
        )
    )
    return local, str(remote)


def finish(config):
    collect_recycling_results.main([f"--config={config}"])
    report.main([f"--config={config}"])


@pytest.mark.thorough
@pytest.mark.parametrize("store", ["gs", "s3"], indirect=True)
def test_it_writes_what_it_writes_to_a_disk(uploaded, store, tmp_path):
    local, remote = uploaded
    recycle.main([f"--config={local}"])
    finish(local)
    if ALL:
        command = [sys.executable, "-P", "-m", "prompt_tuning_recycling.recycle"]
        command += [f"--config={remote}", "--workers=3"]
        subprocess.run(command, check=True)
    else:
        recycle.main([f"--config={remote}"])
    finish(remote)
    ours, theirs = on_store(store), tree(tmp_path / "sweep")
    assert ours.keys() == theirs.keys()
    prompts = [name for name in ours if "recycled_from" in name]
    assert len(prompts) > 20
    for name in prompts:
        if not name.endswith(".json"):
            assert ours[name] == theirs[name], name
    for name in ours:
        if name.endswith((".tsv", "cli_args")):
            bucket = store.url("").rstrip("/").encode()
            assert ours[name] == theirs[name].replace(str(tmp_path).encode(), bucket)
    page = ours["report-toy.html"].decode()
    assert store.url("sweep/") in page
    # Nothing is done twice.
    before = len(store.proxy.writes())
    store.proxy.reset()
    recycle.main([f"--config={remote}"])
    assert len(store.proxy.writes()) < 10 < before
    assert on_store(store) == ours


@pytest.mark.skipif(not ALL, reason="takes minutes")
@pytest.mark.parametrize("number", range(5))
def test_killed_it_ends_like_an_undisturbed_sweep(uploaded, store, tmp_path, number):
    local, remote = uploaded
    recycle.main([f"--config={local}"])
    seen, lock, running = 0, threading.Lock(), []
    ready = threading.Event()

    def fault(request):
        nonlocal seen
        if request.method not in ("PUT", "POST"):
            return None
        with lock:
            seen += 1
        if seen <= 9 * number:
            return None
        ready.wait()
        os.killpg(running[0].pid, signal.SIGKILL)
        return Fault(status=500, reset=True, carried_out=bool(number % 2))

    store.proxy.fault = fault
    command = [sys.executable, "-P", "-m", "prompt_tuning_recycling.recycle"]
    command += [f"--config={remote}", "--workers=2"]
    running.append(subprocess.Popen(command, start_new_session=True))
    ready.set()
    assert running[0].wait(300) == -signal.SIGKILL
    store.proxy.reset()
    recycle.main([f"--config={remote}"])
    ours, theirs = on_store(store), tree(tmp_path / "sweep")
    assert ours.keys() == theirs.keys()
    for name in ours:
        if "recycled_from" in name and not name.endswith(".json"):
            assert ours[name] == theirs[name], name
