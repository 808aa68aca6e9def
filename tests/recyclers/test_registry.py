"""One registry serves names, aliases and gin."""

import dataclasses
import pathlib

import gin
import pytest

from prompt_tuning_recycling import RecyclingError, recyclers
from prompt_tuning_recycling.gin_path import gin_path

CHECKOUT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def clean_gin():
    gin.clear_config()
    yield
    gin.clear_config()


@gin.configurable(module="tests")
def takes_a_recycler(recycler=gin.REQUIRED):
    return recycler


@pytest.mark.parametrize(
    ("name", "cls"),
    [
        ("v2v-lin", recyclers.VocabToVocabLinear),
        ("tf-lstsq", recyclers.VocabToVocabLinear),
        ("lin-comb", recyclers.LinearCombination),
        ("linear-combination", recyclers.LinearCombination),
        ("v2v-nn", recyclers.VocabToVocabMLP),
        ("jax-nn", recyclers.VocabToVocabMLP),
    ],
)
def test_names_and_the_aliases_of_the_papers_code(name, cls):
    assert recyclers.get(name) is cls
    assert isinstance(recyclers.make(name), cls)


def test_names_are_listed_once_and_without_aliases():
    names = recyclers.names()
    assert {"lin-comb", "v2v-lin", "v2v-nn"} <= set(names)
    assert len(names) == len({recyclers.get(name) for name in names})


def test_an_unknown_name_names_the_nearest():
    with pytest.raises(RecyclingError, match="no recycler 'v2v-line'.*v2v-lin"):
        recyclers.make("v2v-line")


def test_an_unknown_parameter_names_the_nearest():
    for recycler in ("v2v-nn", recyclers.VocabToVocabMLP()):
        with pytest.raises(RecyclingError, match="no parameter 'epoch'.*epochs"):
            recyclers.make(recycler, epoch=3)


def test_neither_a_name_nor_a_recycler():
    with pytest.raises(RecyclingError, match="expected a recycler or its name"):
        recyclers.make(3)


def test_a_recycler_can_be_given_with_changes():
    made = recyclers.make(recyclers.VocabToVocabMLP(seed=3), epochs=2)
    assert made == recyclers.VocabToVocabMLP(seed=3, epochs=2)


def test_a_name_can_be_taken_only_once():
    @dataclasses.dataclass(frozen=True)
    class Another(recyclers.VocabToVocabLinear):
        name = "v2v-lin"

    with pytest.raises(ValueError, match="'v2v-lin' is taken"):
        recyclers.register(Another)


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("recyclers/v2v_lin.gin", recyclers.VocabToVocabLinear()),
        ("recyclers/lin_comb.gin", recyclers.LinearCombination()),
        ("recyclers/v2v_nn.gin", recyclers.VocabToVocabMLP()),
        ("recyclers/procrustes.gin", recyclers.Procrustes()),
        ("recyclers/relative.gin", recyclers.Relative()),
        ("recyclers/soft_nearest.gin", recyclers.SoftNearest()),
        ("recyclers/sparse.gin", recyclers.Sparse()),
        ("recyclers/local.gin", recyclers.Local()),
        ("recyclers/copy.gin", recyclers.Copy()),
        ("recyclers/mean.gin", recyclers.Mean()),
    ],
)
def test_each_gin_file_of_a_recycler_means_it(file, expected):
    gin.add_config_file_search_path(gin_path())
    gin.parse_config_file(file)
    gin.parse_config("takes_a_recycler.recycler = %RECYCLER")
    assert takes_a_recycler() == expected


def test_each_recycler_has_a_gin_file():
    files = {path.stem for path in (CHECKOUT / "gin" / "recyclers").glob("*.gin")}
    assert files == {name.replace("-", "_") for name in recyclers.names()}


def test_the_portfolio_is_of_recyclers_that_exist():
    assert set(recyclers.PORTFOLIO) <= set(recyclers.names())
    assert recyclers.PORTFOLIO[0] == "copy"


def test_gin_sets_a_recyclers_parameters():
    gin.parse_config(
        "takes_a_recycler.recycler = @recyclers.VocabToVocabMLP()\n"
        "recyclers.VocabToVocabMLP.epochs = 7\n"
    )
    assert takes_a_recycler() == recyclers.VocabToVocabMLP(epochs=7)
