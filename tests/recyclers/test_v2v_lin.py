"""What is particular to `v2v-lin`; its laws are in test_base.py."""

import numpy as np

from prompt_tuning_recycling.recyclers import VocabToVocabLinear


def test_the_map_is_the_least_squares_solution(source_table, target_table):
    fitted = VocabToVocabLinear().fit(source_table, target_table).map
    expected = np.linalg.lstsq(
        source_table.astype(np.float64), target_table.astype(np.float64)
    )[0]
    assert fitted.matrix.dtype == np.float64
    np.testing.assert_allclose(fitted.matrix, expected, rtol=1e-9, atol=1e-12)
