import numpy as np
import pytest

from prompt_tuning_recycling import RecyclingError, recyclers

PROCRUSTES = recyclers.Procrustes()


def orthogonal(rng, rows, columns):
    wide = np.linalg.qr(rng.normal(size=(max(rows, columns),) * 2))[0]
    return wide[:rows, :columns]


@pytest.mark.parametrize("target_dim", [8, 13])
def test_a_rotation_with_a_scale_is_recovered(rng, target_dim):
    """Into as many dimensions, or into more."""
    turn = 3 * orthogonal(rng, 8, target_dim)
    source = rng.normal(size=(50, 8))
    fitted = PROCRUSTES.fit(source, source @ turn)
    np.testing.assert_allclose(fitted.map.matrix, turn, atol=1e-12)
    assert fitted.diagnostics == {"rank": 8, "scale": pytest.approx(3)}
    assert fitted.residual == pytest.approx(0, abs=1e-6)
    assert not fitted.warnings


def test_no_rotation_comes_closer(rng):
    source = rng.normal(size=(50, 6))
    target = source @ rng.normal(size=(6, 6)) + rng.normal(size=(50, 6))
    fitted = PROCRUSTES.fit(source, target)
    best = fitted.map.matrix / fitted.diagnostics["scale"]
    np.testing.assert_allclose(best @ best.T, np.eye(6), atol=1e-12)
    distance = np.linalg.norm(source @ best - target)
    for _ in range(50):
        small, _ = np.linalg.qr(np.eye(6) + 0.1 * rng.normal(size=(6, 6)))
        small *= np.sign(np.diag(small))
        assert np.linalg.norm(source @ best @ small - target) > distance


@pytest.mark.parametrize("widths", [(6, 9), (9, 6)])
def test_the_words_get_the_targets_size(rng, widths):
    source, target = rng.normal(size=(50, widths[0])), rng.normal(size=(50, widths[1]))
    fitted = PROCRUSTES.fit(source, target).map
    assert np.linalg.norm(source @ fitted.matrix) == pytest.approx(
        np.linalg.norm(target)
    )
    singular = np.linalg.svd(fitted.matrix, compute_uv=False)
    np.testing.assert_allclose(singular, singular[0])


def test_what_few_words_do_not_determine_is_dropped(rng):
    source, target = rng.normal(size=(4, 12)), rng.normal(size=(4, 12))
    fitted = PROCRUSTES.fit(source, target)
    assert fitted.diagnostics["rank"] == 4
    assert "determine a rotation in 4 of 12 dimensions" in fitted.warnings[0]
    outside = np.linalg.svd(source)[2][4:]
    np.testing.assert_allclose(fitted.map.apply(outside), 0, atol=1e-6)


def test_nothing_in_common():
    source = np.eye(4)[[0, 1, 2, 3]]
    source[2:] = 0
    target = np.eye(4)[[0, 0, 2, 3]]
    target[:2] = 0
    with pytest.raises(RecyclingError, match="no direction in common"):
        PROCRUSTES.fit(source, target)
