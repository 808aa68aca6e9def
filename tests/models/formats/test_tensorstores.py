import pytest
import tensorstore as ts
from etils import epath

from prompt_tuning_recycling.models.formats import tensorstores


def test_a_local_folder_becomes_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    spec = tensorstores.kvstore_spec(epath.Path("checkpoint_1"))
    assert spec == {"driver": "file", "path": f"{tmp_path}/checkpoint_1/"}


@pytest.mark.parametrize(("scheme", "driver"), [("gs", "gcs"), ("s3", "s3")])
def test_a_bucket(scheme, driver):
    spec = tensorstores.kvstore_spec(epath.Path(f"{scheme}://bucket/a/checkpoint_1"))
    assert spec == {"driver": driver, "bucket": "bucket", "path": "a/checkpoint_1/"}


def test_a_group_is_not_an_array(tmp_path):
    store = ts.KvStore.open({"driver": "memory"}).result()
    store.write("g/zarr.json", b'{"zarr_format": 3, "node_type": "group"}').result()
    folder = epath.Path(tmp_path)
    assert tensorstores.open_array(store, "g", folder) is None
    assert tensorstores.open_array(store, "nothing", folder) is None
