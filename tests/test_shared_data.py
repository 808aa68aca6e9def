"""Against checkpoints that T5X wrote, released prompts, and the reference's results."""

import numpy as np
import pytest

from prompt_tuning_recycling import Words, load_prompt, recyclers, run_recycle
from prompt_tuning_recycling.models import open_checkpoint

EMBEDDING = "target/token_embedder/embedding"
LEGACY_PROMPT = "numpy_checkpoints/checkpoint_50/encoder.prompt.prompt.prompt"


@pytest.fixture
def models(shared_data):
    return shared_data / "t5x_written"


@pytest.fixture
def published(shared_data):
    return shared_data / "filtered-vocab-english-only.json"


@pytest.fixture
def recycle(run, tmp_path, published):
    def recycle(source, target, prompt, recycler, **flags):
        output = tmp_path / "recycled"
        given = {
            "source_model": str(source),
            "target_model": str(target),
            "prompt_path": str(prompt),
            "output_path": str(output),
            "filtered_word": str(published),
            "recycler": recycler,
            **flags,
        }
        code = run(run_recycle.main, given)
        return code, np.load(output) if code == 0 else None

    return recycle


def relative(a, b):
    return np.linalg.norm(a - b) / np.linalg.norm(b)


@pytest.mark.parametrize("recycler", ["v2v-lin", "lin-comb"])
def test_linear_recyclers_agree_with_the_reference(
    shared_data, models, recycle, recycler
):
    code, recycled = recycle(
        models / "prompt_legacy",
        models / "target_legacy",
        models / "prompt_legacy" / LEGACY_PROMPT,
        recycler,
    )
    assert code == 0
    reference = np.load(shared_data / "reference" / f"{recycler}.npy")
    assert relative(recycled, reference) < 1e-5


@pytest.mark.parametrize("recycler", ["v2v-lin", "lin-comb"])
def test_orbax_agrees_with_an_independent_least_squares(
    models, published, recycle, recycler
):
    source, target = models / "prompt_orbax", models / "target_orbax"
    code, recycled = recycle(source, target, source, recycler)
    assert code == 0
    rows = Words.from_list(published).fitted.source_rows
    s, t = (
        open_checkpoint(model).read(EMBEDDING)[rows].astype(np.float64)
        for model in (source, target)
    )
    expected = load_prompt(source).array.astype(np.float64) @ np.linalg.lstsq(s, t)[0]
    assert relative(recycled, expected) < 1e-5


@pytest.mark.slow
def test_network_is_trained_as_far_as_the_references(models, published):
    """The reference's recipe, run once by hand, ends at a loss of 0.49690 over all
    words (seed 0; mean of half the squared error)."""
    rows = Words.from_list(published).fitted.source_rows
    source, target = (
        open_checkpoint(models / name).take(EMBEDDING, rows)
        for name in ("prompt_legacy", "target_legacy")
    )
    fitted = recyclers.make("v2v-nn").fit(source, target)
    loss = np.mean((fitted.map.apply(source) - target) ** 2) / 2
    assert loss == pytest.approx(0.49690, rel=0.02)


def test_both_formats_hold_prompts_of_the_same_shape(models):
    for name in ("prompt_orbax", "prompt_legacy"):
        assert load_prompt(models / name).array.shape == (8, 16)
    np.testing.assert_array_equal(
        load_prompt(models / "prompt_legacy").array,
        load_prompt(models / "prompt_legacy" / LEGACY_PROMPT).array,
    )


def test_a_checkpoint_of_2022(models):
    checkpoint = open_checkpoint(models / "legacy_2022_checkpoint_3")
    inlined, external = "target/decoder/decoder_norm/scale", EMBEDDING
    assert checkpoint.read("state/step") == 3
    assert np.isfinite(checkpoint.read(inlined)).all()
    assert checkpoint.read(external).shape[1] == 4
    for name in checkpoint.keys():
        assert checkpoint.read(name).shape == checkpoint.shape(name)


@pytest.mark.parametrize("task", ["sst2", "mrpc", "rte"])
def test_released_prompts_are_described_and_refused_for_another_width(
    shared_data, models, recycle, capsys, task
):
    prompt = shared_data / "released_prompts" / "t5_1_1_lm100k_base" / f"{task}.npy"
    source, target = models / "prompt_legacy", models / "target_legacy"
    code, _ = recycle(source, target, prompt, "v2v-lin", report=None)
    captured = capsys.readouterr()
    assert code == 1
    assert "[100, 768], float32" in captured.out
    assert "row norms" in captured.out
    assert "has width 768" in captured.err
    assert "embeddings of width 16" in captured.err
