import ml_dtypes
import numpy as np

from prompt_tuning_recycling import provenance


def test_norms_of_rows():
    vectors = np.array([[3, 4], [0, 1], [0, 2]], ml_dtypes.bfloat16)
    assert provenance.norms(vectors) == {"min": 1.0, "median": 2.0, "max": 5.0}


def test_a_digest_depends_on_the_numbers_not_on_their_layout():
    array = np.arange(6.0).reshape(2, 3)
    assert provenance.digest(array) == provenance.digest(np.asfortranarray(array))
    assert provenance.digest(array) != provenance.digest(array + 1)


def test_nearest_pieces_by_direction_not_by_length():
    embeddings = np.array([[10.0, 0], [1, 1], [0, 0.1]])
    found = provenance.nearest_pieces(
        np.array([[0, 5.0], [0.0, 0]]),
        embeddings,
        np.array([7, 8, 9]),
        {7: "a", 9: "c"},
    )
    assert found[0] == [{"piece": "c", "cosine": 1.0}, {"piece": "a", "cosine": 0.0}]
    assert [entry["cosine"] for entry in found[1]] == [0.0, 0.0]


def test_versions_name_what_computed():
    versions = provenance.versions()
    assert versions["numpy"] == np.__version__
    assert "prompt_tuning_recycling" in versions
