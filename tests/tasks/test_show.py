"""`python -m prompt_tuning_recycling.tasks.show`."""

import gin
import pytest
import seqio

from prompt_tuning_recycling.tasks import show

pytestmark = pytest.mark.slow


@pytest.fixture
def shown(run, capsys):
    """Runs it in this process: the exit code, and what it printed."""

    def shown(*arguments):
        try:
            # Not a dictionary of flags: the task's name comes without one.
            code = run(lambda _: show.main(list(arguments)), {})
        finally:
            gin.clear_config()
        return code, *capsys.readouterr()

    return shown


@pytest.fixture
def flags(tfds_folder, shared_data):
    return (
        f"--tfds_data_dir={tfds_folder}",
        f"--vocabulary_file={shared_data / 't5_vocab.model'}",
    )


def test_text_and_pieces(shown, flags):
    code, out, _ = shown("pr:glue_sst2_v200_test_rc", "--examples=2", *flags)
    assert code == 0
    lines = out.splitlines()
    assert lines[0] == "pr:glue_sst2_v200_test_rc, validation, 0"
    assert "  inputs: 'sentence: hide new secretions from the parental units '" in lines
    assert (
        "  inputs, 11 pieces: ▁sentence : ▁hide ▁new ▁secret ions ▁from ▁the ▁parental "
        "▁units </s>" in lines
    )
    assert lines.count("  targets, 2 pieces: ▁negative </s>") == 1
    assert lines.count("  targets, 2 pieces: ▁positive </s>") == 1
    assert "pr:glue_sst2_v200_test_rc, validation, 1" in lines
    assert "validation, 2" not in out


@pytest.mark.thorough
def test_a_mixture_is_shown_task_by_task(shown, flags):
    code, out, _ = shown(
        "pr:glue_sst2_v200", "--split=validation", "--examples=1", *flags
    )
    assert code == 0
    for part in ("train", "test", "test_rc"):
        assert f"pr:glue_sst2_v200_{part}, validation, 0" in out


def test_texts_are_cut_on_demand(shown, flags):
    _, out, _ = shown(
        "pr:glue_sst2_v200_test", "--examples=1", "--lengths=inputs=4,targets=2", *flags
    )
    assert "inputs, 4 pieces: ▁sentence : ▁hide </s>" in out


def test_a_task_that_needs_lengths(shown, flags):
    code, out, _ = shown("c4_v220_random_positive_negative_targets", *flags)
    assert code == 0
    assert "shown at inputs=512,targets=16" in out
    # Without its text before tokenization, the pieces are put together again.
    assert "inputs: 'one two" in out


def test_own_files(shown, flags, tmp_path):
    path = tmp_path / "dev.tsv"
    path.write_text("inputs\ttargets\nso good\t1\n")
    code, out, _ = shown(f"--files=validation={path}", "--verbalizers=bad,good", *flags)
    for kind in ("generation", "rank_classification"):
        seqio.TaskRegistry.remove(f"files_{kind}")
    seqio.MixtureRegistry.remove("files")
    assert code == 0
    assert "files_generation, validation, 0" in out
    assert "  targets, 2 pieces: ▁good </s>" in out
    assert "  targets, 2 pieces: ▁bad </s>" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("pr:glue_sst2_v200_tset",), "Did you mean pr:glue_sst2_v200_test"),
        (("pr:imdb_v100_0_1_verbalisers_train",), "verbalizers_train"),
        ((), "expected the NAME of a task"),
        (("pr:glue_sst2_v200_test", "--split=test"), "no split 'test'"),
        (("pr:glue_sst2_v200_test", "--lengths=512"), "--lengths: expected name=value"),
        (
            ("pr:glue_sst2_v200_test", "--lengths=inputs=x"),
            "--lengths: expected numbers",
        ),
        (("x", "--module=no.such.module"), "--module: No module named 'no'"),
    ],
)
def test_what_cannot_be_shown(shown, flags, arguments, message):
    code, _, error = shown(*arguments, *flags)
    assert code == 1
    assert error.startswith("error: ")
    assert message in error


def test_a_vocabulary_that_is_not_there(shown):
    code, _, error = shown("pr:glue_sst2_v200_test", "--vocabulary_file=no.model")
    assert code == 1
    assert "there is no vocabulary no.model" in error


@pytest.mark.slow
@pytest.mark.thorough
def test_as_a_program(tfds_folder, demo_vocabulary, monkeypatch, start_program):
    """From another folder, and without gin."""
    monkeypatch.chdir(tfds_folder)
    shown = start_program(
        "prompt_tuning_recycling.tasks.show",
        [
            "pr:imdb_v100_0_1_verbalizers_test",
            f"--tfds_data_dir={tfds_folder}",
            f"--vocabulary_file={demo_vocabulary}",
        ],
    ).end()
    assert shown.code == 0, shown.error
    assert "  inputs: 'Wonderful!'" in shown.out


def test_a_negative_number_of_examples(shown):
    code, _, err = shown("pr:glue_sst2_v200_test", "--examples=-1")
    assert code == 1
    assert err == "error: --examples: expected at least 0, found -1.\n"
