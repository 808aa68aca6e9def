import ml_dtypes
import numpy as np

from prompt_tuning_recycling.records import provenance


def test_norms_of_rows():
    vectors = np.array([[3, 4], [0, 1], [0, 2]], ml_dtypes.bfloat16)
    assert provenance.norms(vectors) == {"min": 1.0, "median": 2.0, "max": 5.0}


def test_norms_are_those_of_numpy_to_the_last_bit(rng):
    vectors = rng.normal(size=(101, 768)).astype(np.float32)
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1)
    expected = lengths.min(), np.median(lengths), lengths.max()
    assert tuple(provenance.norms(vectors).values()) == expected


def test_nearest_pieces_by_direction_not_by_length():
    embeddings = np.array([[10.0, 0], [1, 1], [0, 0.1]])
    pieces = provenance.NearestPieces(embeddings, ["a", None, "c"])
    found = pieces.to(np.array([[0, 5.0], [0.0, 0]]))
    assert found[0] == [{"piece": "c", "cosine": 1.0}, {"piece": "a", "cosine": 0.0}]
    assert [entry["cosine"] for entry in found[1]] == [0.0, 0.0]


def test_the_nearest_pieces_are_those_of_a_full_sort(rng):
    embeddings = rng.normal(size=(50, 6)).round(1)
    vectors = rng.normal(size=(4, 6))
    pieces = provenance.NearestPieces(embeddings, [str(i) for i in range(50)])
    unit = [a / np.linalg.norm(a, axis=1, keepdims=True) for a in (vectors, embeddings)]
    similarity = (unit[0].astype(np.float32)) @ unit[1].astype(np.float32).T
    expected = np.argsort(-similarity, axis=1, kind="stable")[:, : provenance.NEAREST]
    found = [[int(p["piece"]) for p in best] for best in pieces.to(vectors)]
    assert found == expected.tolist()


def test_no_nearest_pieces_where_none_is_known():
    pieces = provenance.NearestPieces(np.eye(3), [None] * 3)
    assert pieces.to(np.eye(3)) is None


def test_versions_name_what_computed():
    versions = provenance.versions()
    assert versions["numpy"] == np.__version__
    assert "prompt_tuning_recycling" in versions
