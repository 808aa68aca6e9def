"""Which step a MODEL_DIR means."""

import shutil

import pytest

from prompt_tuning_recycling import RecyclingError
from prompt_tuning_recycling.models import open_checkpoint

EMBEDDING = "target/token_embedder/embedding"


def test_the_newest_step_by_number(tmp_path, write_any, source_table):
    for step in (9, 10, 100):
        write_any(tmp_path / f"checkpoint_{step}", {EMBEDDING: source_table + step})
    checkpoint = open_checkpoint(tmp_path)
    assert checkpoint.path.name == "checkpoint_100"
    assert (checkpoint.read(EMBEDDING) == source_table + 100).all()


@pytest.mark.parametrize(
    "unfinished",
    ["checkpoint_20.tmp-1700000000", "checkpoint_20.orbax-checkpoint-tmp-3", "old_20"],
)
def test_a_half_written_step_is_never_chosen(
    tmp_path, write_any, source_table, unfinished
):
    done = write_any(tmp_path / "checkpoint_10", {EMBEDDING: source_table})
    shutil.copytree(done, tmp_path / unfinished)
    assert open_checkpoint(tmp_path).path.name == "checkpoint_10"


def test_an_empty_step_is_never_chosen(tmp_path, write_any, source_table):
    write_any(tmp_path / "checkpoint_10", {EMBEDDING: source_table})
    (tmp_path / "checkpoint_20" / "state").mkdir(parents=True)
    assert open_checkpoint(tmp_path).path.name == "checkpoint_10"


def test_no_complete_step(tmp_path):
    (tmp_path / "checkpoint_20").mkdir()
    with pytest.raises(RecyclingError, match="holds no complete one.*checkpoint_20"):
        open_checkpoint(tmp_path)
