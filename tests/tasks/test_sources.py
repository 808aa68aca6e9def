"""TFDS as a source: prepared data are read, missing ones are an error that helps."""

import socket

import pytest
import seqio
import tensorflow_datasets as tfds

from prompt_tuning_recycling.errors import RecyclingError
from prompt_tuning_recycling.tasks import sources

from .conftest import SST2_TRAIN, examples


@pytest.fixture
def empty_folder(tmp_path):
    """Where TFDS looks, without anything."""
    seqio.set_tfds_data_dir_override(str(tmp_path / "tfds"))
    yield tmp_path / "tfds"
    seqio.set_tfds_data_dir_override(None)


@pytest.fixture
def no_network(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)

    def unknown(host, *_):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)


@pytest.mark.parametrize(
    "name",
    [
        "glue/sst2:2.0.0",
        "glue/qqp:2.0.0",
        "imdb_reviews/plain_text:1.0.0",
        "super_glue/record:1.0.2",
        "c4/en:2.2.0",
    ],
)
def test_missing_data_without_a_network(empty_folder, no_network, name):
    source = sources.TfdsSource(name, ["validation"])
    place = empty_folder / name.replace(":", "/")
    with pytest.raises(RecyclingError) as error:
        source.get_dataset("validation")
    message = str(error.value)
    assert f"the dataset {name} is not in {place}, and cannot be downloaded" in message
    assert "Name or service not known" in message
    assert f"tfds.builder('{name}', data_dir='DIR').download_and_prepare()" in message
    assert "--tfds_data_dir=DIR" in message


def test_a_dataset_that_tfds_does_not_know(empty_folder):
    source = sources.TfdsSource("gleu/sst2:2.0.0", ["validation"])
    with pytest.raises(RecyclingError, match="the dataset gleu/sst2:2.0.0 is not in"):
        source.get_dataset("validation")


def test_a_download_that_fails(empty_folder, monkeypatch):
    def fails(self, *_, **__):
        raise tfds.download.DownloadError("404: not there")

    monkeypatch.setattr(sources, "_check_network", lambda urls: None)
    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", fails)
    source = sources.TfdsSource("glue/sst2:2.0.0", ["validation"])
    with pytest.raises(RecyclingError, match="DownloadError: 404: not there. On"):
        source.num_input_examples("validation")


def test_sizes_of_splits(tfds_folder):
    source = sources.TfdsSource(
        "glue/sst2:2.0.0", {"train": "train[:-1000]", "validation": "train[-1000:]"}
    )
    assert source.num_input_examples("train") == SST2_TRAIN - 1000
    assert source.num_input_examples("validation") == 1000


def test_hosts_read_a_share_each(tfds_folder, demo_vocabulary):
    """QQP's validation of 4 rows in one file, so that shares are of its examples."""
    name = "pr:glue_qqp_v200_0_1_verbalizers_rc"
    whole = examples(name)
    shares = [
        examples(name, shard_info=seqio.ShardInfo(index, 2)) for index in range(2)
    ]
    assert [len(share) for share in shares] == [4, 4]
    keys = {int(row["ranking"][0]) for share in shares for row in share}
    assert len(keys) == 4
    texts = [row["inputs_pretokenized"] for share in shares for row in share]
    assert sorted(texts) == sorted(row["inputs_pretokenized"] for row in whole)
