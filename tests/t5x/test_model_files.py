"""The package's model files for T5X's networks have the sizes of T5X's own files."""

import dataclasses
import importlib.util
import pathlib
import re

import gin
import pytest

from prompt_tuning_recycling.gin_path import gin_path

MODELS = pathlib.Path(gin_path()) / "models"
FILES = [
    path.name
    for kind in ("scalable_*", "decoder_only_*")
    for path in sorted(MODELS.glob(f"{kind}_prompt.gin"))
]


@gin.configurable(module="tests.model_files")
def declared(network=None):
    return network


def network_of(*lines):
    """The network that gin files declare."""
    assert importlib.util  # Without it gin's search for files fails.
    gin.clear_config()
    gin.add_config_file_search_path(gin_path())
    gin.parse_config(lines)
    gin.parse_config("tests.model_files.declared.network = %NETWORK")
    network = declared()
    gin.clear_config()
    return network


@pytest.fixture
def examples(decoder_only_sources, monkeypatch):
    """T5X's folder of examples in a checkout."""
    import t5x.examples

    monkeypatch.setattr(
        t5x.examples, "__path__", [*t5x.examples.__path__, decoder_only_sources]
    )
    return pathlib.Path(decoder_only_sources)


def stated(folder, size):
    """What T5X's own gin files say of a network: those of a size override base.gin."""
    texts = [(folder / f"{name}.gin").read_text() for name in ("base", size)]
    pairs = re.findall(r"^  (\w+) = (\(.*\)|[^%@\s#]+)", "\n".join(texts), re.MULTILINE)
    return dict(pairs)


def test_there_is_a_file_for_each_size():
    assert len(FILES) == 14


@pytest.mark.parametrize("file", FILES)
def test_sizes(examples, file):
    kind, size = re.match(r"(scalable|decoder)_(.*)_prompt", file).groups()
    size = size.removeprefix("only_")
    if kind == "decoder":
        folder = examples / "decoder_only/models"
    else:
        family, size = size.rsplit("_", 1)
        folder = examples / "scalable_t5" / family
    network = network_of(f"include 'models/{file}'")
    assert network.prompt_length == 100
    theirs = stated(folder, size)
    found = dataclasses.asdict(network.config)
    # T5X's files have bfloat16; each host's run files set the dropout.
    assert set(theirs) & set(found) >= set(found) - {"dropout_rate", "param_scan_axis"}
    for name in set(theirs) & set(found) - {"dtype"}:
        assert repr(found[name]) == theirs[name], name
    assert found["dtype"] == "float32"


def test_options_that_t5x_does_not_have_are_refused():
    with pytest.raises(Exception, match="float32_attention_logits is set, but T5X"):
        network_of(
            "from __gin__ import dynamic_registration",
            "from prompt_tuning_recycling import network",
            "include 'models/scalable_t5_1_1_base_prompt.gin'",
            "network.T5Config.float32_attention_logits = True",
        )
