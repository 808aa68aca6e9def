"""What `run_recycle` and others say to addresses on object stores that are wrong, and
that any spelling of a right one works.
"""

import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from prompt_tuning_recycling import convert, inspect_path, run_recycle
from prompt_tuning_recycling.files import as_path
from prompt_tuning_recycling.models import open_model

from ..adapters import of_encoder, write_adapter
from .conftest import finished, safetensors_model


def uploaded(store, files):
    flags = dict(files)
    finished(pathlib.Path(files["source_model"], "checkpoint_7"))
    for name in ("source_model", "target_model", "prompt_path"):
        flags[name] = store.upload(pathlib.Path(files[name]), name)
    return flags | {"output_path": store.url("out/recycled")}


def said(run, capfd, flags, main=run_recycle.main):
    assert run(main, flags) == 1
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("error: ")
    return line


@pytest.mark.parametrize("scheme", ["gs", "s3"])
@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("gcs://bucket/x", "expected a local path, gs:// or s3://, found gcs://"),
        ("{}:/bucket/x", r"one slash is missing. Expected {}://BUCKET/NAME"),
        ("{}://", "names no bucket"),
        ("{}:///x/..", "names no bucket"),
    ],
)
def test_mistyped(run, capfd, files, scheme, wrong, message):
    files["source_model"] = wrong.format(scheme)
    assert message.format(scheme) in said(run, capfd, files)


def test_what_is_not_there(store, run, capfd, files):
    flags = uploaded(store, files)
    missing = f"{store.scheme}://{store.bucket}-no/model"
    assert "does not exist" in said(run, capfd, {**flags, "source_model": missing})
    missing = store.url("source_mode")
    line = said(run, capfd, {**flags, "source_model": missing})
    assert "Did you mean source_model" in line
    # Before the work, and it is not made.
    missing = f"{store.scheme}://{store.bucket}-no/out/x"
    assert "there is no bucket" in said(run, capfd, {**flags, "output_path": missing})
    line = said(run, capfd, {**flags, "output_path": store.url("")})
    assert "it is a bucket" in line
    assert not store.files.exists(f"{store.bucket}-no")
    assert not store.names("out")


def test_any_spelling(store, run, files, tmp_path, source_table):
    flags = uploaded(store, files)
    flags["source_model"] += "//"
    flags["target_model"] = flags["target_model"].replace("target", "./target")
    assert run(run_recycle.main, flags) == 0
    assert store.names("out") == ["out/recycled", "out/recycled.json"]


def test_a_bucket_that_is_a_model(store, tmp_path, source_table, write_legacy):
    safetensors_model(tmp_path / "hf", source_table)
    for file in (tmp_path / "hf").iterdir():
        store.upload(file, file.name)
    for url in (store.url("").rstrip("/"), store.url("")):
        np.testing.assert_array_equal(
            open_model(url).embeddings.take([3, 1]), source_table[[3, 1]]
        )


@pytest.mark.thorough
@pytest.mark.parametrize("store", ["gs", "s3"], indirect=True)
def test_adapters(store, run, capfd, files, tmp_path, prompt, source_table):
    safetensors_model(tmp_path / "hf", source_table)
    base = store.upload(tmp_path / "hf", "hf")
    adapter = write_adapter(
        tmp_path / "adapter",
        of_encoder(prompt),
        len(prompt),
        base_model_name_or_path=base,
    )
    url = store.upload(adapter, "adapter")
    flags = uploaded(store, files) | {"source_model": base, "prompt_path": url}
    assert run(run_recycle.main, flags) == 0
    found = store.read("out/recycled")
    local = {**files, "source_model": str(tmp_path / "hf")}
    assert run(run_recycle.main, local) == 0
    assert found == as_path(files["output_path"]).read_bytes()
    # And one that is written there.
    flags |= {"output_format": "peft", "output_path": store.url("made")}
    flags |= {"target_model": base}
    assert run(run_recycle.main, flags) == 0
    flags |= {"prompt_path": store.url("made"), "output_path": store.url("again")}
    for _ in range(2):
        assert run(run_recycle.main, flags) == 0
    assert "made/adapter_config.json" in store.names("made")
    assert "again/adapter_model.safetensors" in store.names("again")


def test_inspect_and_convert(
    store, run, capfd, files, tmp_path, source_table, prompt, write_orbax
):
    arrays = {
        "target/token_embedder/embedding": source_table,
        "target/encoder/prompt/prompt/prompt": prompt,
    }
    local = finished(write_orbax(tmp_path / "run/checkpoint_10", arrays)).parent
    url = store.upload(local, "run")
    texts = []
    for path in (str(local), url):
        inspect_path.main([path])
        texts.append(capfd.readouterr().out.replace(path, "HERE"))
    assert texts[0] == texts[1] and "nearest words" in texts[0]
    # A whole MODEL_DIR as the prompt.
    flags = uploaded(store, files) | {"prompt_path": url, "source_model": url}
    assert run(run_recycle.main, flags) == 0
    capfd.readouterr()
    flags = {"from": url, "to": store.url("converted")}
    line = said(run, capfd, flags, convert.main)
    assert "object stores cannot rename" in line


def in_a_process(flags, environment):
    command = [f"--{name}={value}" for name, value in flags.items()]
    return subprocess.run(
        [sys.executable, "-m", "prompt_tuning_recycling.run_recycle", *command],
        capture_output=True,
        text=True,
        env=environment,
        timeout=120,
    )


@pytest.mark.skipif(os.environ.get("STORES") != "all", reason="takes half a minute")
def test_out_of_reach(files):
    """Of all that the libraries raise, what they do where there is no network."""
    environment = {
        **os.environ,
        # No name below .invalid is ever resolved (RFC 6761): nothing leaves here.
        "https_proxy": "http://proxy.invalid:1",
        "NO_GCE_CHECK": "true",
        "CLOUDSDK_CONFIG": os.path.dirname(files["prompt_path"]),
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    done = in_a_process({**files, "source_model": "gs://no-such-bucket/x"}, environment)
    assert done.returncode == 1
    assert "error: cannot " in done.stderr
    assert "gs://no-such-bucket/x" in done.stderr
    assert "Traceback" not in done.stderr


# Google's server here lets in everybody.
@pytest.mark.slow
@pytest.mark.parametrize("store", ["s3"], indirect=True)
def test_without_credentials(store, files):
    flags = uploaded(store, files)
    environment = {
        name: value for name, value in os.environ.items() if "KEY" not in name
    }
    done = in_a_process(flags, {**environment, "HOME": "/dev/null/absent"})
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "credentials" in line


@pytest.mark.slow
@pytest.mark.thorough
@pytest.mark.parametrize("store", ["s3"], indirect=True)
@pytest.mark.parametrize("profile", ["mine", "default"])
def test_the_configuration_files_of_amazon(store, files, tmp_path, profile):
    section = "profile mine" if profile == "mine" else profile
    (tmp_path / "config").write_text(
        f"[{section}]\nregion = eu-west-3\nendpoint_url = {store.proxy.url}\n"
    )
    (tmp_path / "credentials").write_text(
        f"[{profile}]\naws_access_key_id = OFTHEPROFILE\n"
        "aws_secret_access_key = secret\n"
    )
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("AWS_")
    }
    environment |= {
        "AWS_CONFIG_FILE": str(tmp_path / "config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials"),
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    if profile != "default":
        environment["AWS_PROFILE"] = profile
    flags = uploaded(store, files)
    store.proxy.reset()
    done = in_a_process(flags, environment)
    assert done.returncode == 0, done.stderr
    for exchange in store.proxy.exchanges:
        signed = exchange.request.headers["authorization"]
        assert "Credential=OFTHEPROFILE/" in signed and "/eu-west-3/" in signed
    readers = {one.request.headers["user-agent"][:6] for one in store.proxy.exchanges}
    assert len(readers) == 2
