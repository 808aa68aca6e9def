"""The sizes that gin files declare, and the names under which gin knows the network."""

import gin
import numpy as np
import pytest

from prompt_tuning_recycling.gin_path import gin_path
from prompt_tuning_recycling.standalone import parameters

from ..conftest import thorough

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def no_gin():
    gin.clear_config()
    yield
    gin.clear_config()


# google-research/text-to-text-transfer-transformer, "released_checkpoints.md": 77M,
# 250M, 800M, 3B, 11B. The exact numbers are of the models on the Hugging Face hub.
PUBLISHED = {
    "small": 76_961_152,
    "base": 247_577_856,
    "large": 783_150_080,
    "xl": 2_849_757_184,
    "xxl": 11_135_332_352,
}


@gin.configurable(module="test_network")
def built(module):
    return module


def parse_files(*files):
    gin.add_config_file_search_path(gin_path())
    for file in files:
        gin.parse_config_file(file)


def declared(*files):
    """The network that gin files declare."""
    parse_files(*files)
    gin.parse_config("test_network.built.module = %NETWORK")
    return built()


SIZES = ["small", thorough("base"), thorough("large"), thorough("xl"), "xxl"]


@pytest.mark.parametrize("size", SIZES)
def test_each_size_has_as_many_parameters_as_the_published_model(size):
    shapes = parameters.shapes(declared(f"models/t5_1_1_{size}.gin"))
    assert sum(map(np.prod, shapes.values())) == PUBLISHED[size]


@pytest.mark.parametrize("size", [*SIZES, "tiny"])
def test_the_file_with_a_prompt_adds_that_one_parameter(size):
    without = parameters.shapes(declared(f"models/t5_1_1_{size}.gin"))
    gin.clear_config()
    module = declared(f"models/t5_1_1_{size}_prompt.gin")
    added = dict(parameters.shapes(module).items() - without.items())
    assert added == {"encoder/prompt/prompt/prompt": (100, module.config.emb_dim)}


def test_gin_writes_the_network_by_the_names_in_its_files():
    parse_files("models/t5_1_1_small_prompt.gin")
    # As with --gin.network.T5Config.emb_dim=3 on a command line.
    gin.parse_config("network.T5Config.emb_dim = 3")
    written = gin.config_str()
    assert set(written.splitlines()) >= {
        "from prompt_tuning_recycling import network",
        "NETWORK = @network.Transformer()",
        "network.Transformer.config = @network.T5Config()",
        "network.T5Config.emb_dim = 3",
        "network.T5Config.prompt_length = %PROMPT_LENGTH",
    }
    gin.clear_config()
    gin.parse_config(written)
    gin.parse_config("test_network.built.module = %NETWORK")
    config = built().config
    assert (config.emb_dim, config.prompt_length) == (3, 100)
