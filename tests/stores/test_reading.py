"""Checkpoints and prompts on object stores give the numbers of their local copies."""

import os

import numpy as np
import pytest

from prompt_tuning_recycling.models import open_model

from ..conftest import EMBEDDING


@pytest.mark.parametrize("form", ["legacy", "orbax"])
def test_checkpoints(store, form, tmp_path, write_legacy, write_orbax, source_table):
    write = {"legacy": write_legacy, "orbax": write_orbax}[form]
    local = write(tmp_path / "checkpoint_10", {EMBEDDING: source_table})
    (local / "commit_success.txt").touch()
    url = store.upload(local, "run/checkpoint_10")
    assert store.names("run")
    for path in (url, os.path.dirname(url)):
        model = open_model(path)
        found = model.embeddings.take(np.array([3, 1]))
        np.testing.assert_array_equal(found, source_table[[3, 1]])
