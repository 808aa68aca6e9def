"""Folders that libraries write on the disk, and that are copied to a store."""

import pytest

from prompt_tuning_recycling import RecyclingError
from prompt_tuning_recycling.files.staging import staged
from prompt_tuning_recycling.standalone import steps

from .proxy import Fault


def test_only_what_has_changed_is_copied(store):
    with staged(store.url("logs")) as logs:
        (logs.local / "inside").mkdir()
        (logs.local / "inside/events").write_bytes(b"1")
        (logs.local / "metrics").write_bytes(b"1")
        logs.publish()
        assert store.names("logs") == ["logs/inside/events", "logs/metrics"]
        store.proxy.reset()
        with (logs.local / "inside/events").open("ab") as file:
            file.write(b"2")
        logs.publish()
        assert len(store.proxy.writes()) == 1
    assert len(store.proxy.writes()) == 1
    assert store.read("logs/inside/events") == b"12"


def test_what_a_library_adds_to_is_fetched(store):
    store.files.pipe_file(f"{store.bucket}/logs/metrics", b"1\n")
    store.files.pipe_file(f"{store.bucket}/logs/events", b"1\n")
    with staged(store.url("logs")) as logs:
        logs.fetch("metr*")
        assert [path.name for path in logs.local.iterdir()] == ["metrics"]
        with (logs.local / "metrics").open("ab") as file:
            file.write(b"2\n")
    assert store.read("logs/metrics") == b"1\n2\n"
    assert store.read("logs/events") == b"1\n"


def test_what_was_written_before_an_error_is_copied(store):
    def fail():
        with staged(store.url("logs")) as logs:
            (logs.local / "events").write_bytes(b"1")
            raise RecyclingError("the loss is no longer finite")

    with pytest.raises(RecyclingError, match="finite"):
        fail()
    assert store.read("logs/events") == b"1"
    # The first error is the one that is told.
    store.proxy.fault = lambda request: Fault(status=403)
    with pytest.raises(RecyclingError, match="finite"):
        fail()


def test_on_a_disk_it_is_the_folder_itself(tmp_path):
    with staged(tmp_path / "logs") as logs:
        assert logs.local == tmp_path / "logs"
        logs.fetch("*")
        logs.publish()
    assert not (tmp_path / "logs").exists()


def test_a_folder_that_cannot_be_listed_is_not_one_without_steps(store):
    """A run would start again from its beginning, and replace what it had."""
    store.files.pipe_file(f"{store.bucket}/run/checkpoint_5/state/_METADATA", b"{}")
    store.proxy.fault = lambda request: Fault(status=403)
    with pytest.raises(RecyclingError, match="cannot look for checkpoints"):
        steps.latest(store.url("run"))
