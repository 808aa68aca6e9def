"""`recycle`: the paper's layout; what is there is left, what fails is reported."""

import json
import pathlib
import shutil

import numpy as np
import pytest

from prompt_tuning_recycling import load_prompt, recycle, recyclers
from prompt_tuning_recycling.evaluation import manifest
from prompt_tuning_recycling.models import open_checkpoint
from prompt_tuning_recycling.prompts.prompt import load_record
from prompt_tuning_recycling.recycling import recycle_prompt
from prompt_tuning_recycling.words import Words

from .conftest import tree, write_prompt

pytestmark = pytest.mark.slow


def outputs(content):
    root = pathlib.Path(content["root_dir"])
    return sorted(root.glob("*/toy/*/*/recycled-prompt/recycled_from_*"))


def prompts(content):
    return [path for path in outputs(content) if path.suffix != ".json"]


@pytest.mark.slow
def test_the_layout_of_the_papers_code(config, content, run):
    assert run(recycle.main, {"config": config}) == 0
    root = pathlib.Path(content["root_dir"])
    # 6 pairs, 3 recyclers, 2 initializations, 2 runs, 2 steps.
    assert len(prompts(content)) == 6 * 3 * 2 * 2 * 2
    assert (root / "jax-nn/learned-recyclers/Seed_0_to_Large").is_file()
    run_dir = root / "tf-lstsq/toy/class-init/run_2"
    assert (run_dir / "recycled-prompt/recycled_from_Large_at_10_to_Seed_1").is_file()
    lines = (root / "cli_args-toy.txt").read_text().splitlines()
    assert len(lines) == len(prompts(content))
    name = "recycled_from_Seed_0_at_5_to_Large"
    folder = root / "tf-lstsq/toy/rand-init/run_1"
    assert (
        f"--seed=default --size=large --prompt_file={folder}/recycled-prompt/{name} "
        f"--output_base_dir={folder}/eval/{name}"
    ) in lines
    name = "recycled_from_Large_at_5_to_Seed_1"
    assert any(
        line.startswith("--seed=1 --size=base ") and line.endswith(name)
        for line in lines
    )


@pytest.mark.parametrize("method", ["tf-lstsq", "linear-combination", "jax-nn"])
def test_each_prompt_is_what_run_recycle_makes_of_it(config, content, run, method):
    assert run(recycle.main, {"config": config}) == 0
    name = "recycled_from_Seed_0_at_10_to_Large"
    path = pathlib.Path(
        content["root_dir"], f"{method}/toy/rand-init/run_2/recycled-prompt/{name}"
    )
    source_prompt = pathlib.Path(
        content["prompts"]["Seed 0"]["rand-init"]["run 2"],
        "numpy_checkpoints/checkpoint_10/encoder.prompt.prompt.prompt",
    )
    words = Words.from_list(
        content["load_embeddings"]["default"]["word_list_path"], 200, 10
    )
    parameters = {"hidden_scale": 2, "epochs": 2} if method == "jax-nn" else {}
    one = recycle_prompt(
        content["pretrained"]["Seed 0"],
        content["pretrained"]["Large"],
        source_prompt,
        words=words,
        recycler=recyclers.make(method, **parameters),
    )
    np.testing.assert_allclose(load_prompt(path).array, one.array, rtol=1e-5, atol=1e-6)
    record = load_record(path)
    alone = json.loads(json.dumps(one.record))
    del alone["seconds"]
    differing = {key for key in alone if record[key] != alone[key]}
    # Rounding may differ where many prompts are multiplied at once.
    assert differing <= {"recycled", "row_norms", "nearest_pieces"}
    assert record["words"]["fitted"] == 200


@pytest.mark.slow
@pytest.mark.thorough
def test_recyclers_that_write_prompts_in_words(content, write_config, run):
    sparse = {"name": "sparse", "parameters": {"k": 2}}
    content["recycling_methods"] = {
        "sparse": {},
        "mean": {"fit": {"recyclers": ["procrustes", sparse]}},
    }
    config = write_config(content)
    assert run(recycle.main, {"config": config}) == 0
    paths = prompts(content)
    for path in paths:
        record = load_record(path)
        if "/sparse/" in str(path):
            target = np.load(record["target"]["path"])
            for vector, words in zip(
                load_prompt(path).array, record["combination"], strict=True
            ):
                made = sum(w["coefficient"] * target[w["row"]] for w in words)
                np.testing.assert_allclose(made, vector, rtol=1e-4, atol=1e-4)
        else:
            assert record["recycler"]["parameters"]["recyclers"][1] == sparse
            assert "combination" not in record
    # A run that is started again loads its maps, and computes the same with them.
    before = tree(content["root_dir"])
    for path in paths[::5]:
        path.unlink()
    assert run(recycle.main, {"config": config}) == 0
    assert tree(content["root_dir"]) == before


@pytest.mark.slow
def test_a_second_run_does_only_what_is_missing(config, content, run, capsys):
    assert run(recycle.main, {"config": config}) == 0
    before = tree(content["root_dir"])
    times = {path: path.stat().st_mtime_ns for path in outputs(content)}
    gone = prompts(content)[::7]
    for path in gone:
        path.unlink()
    capsys.readouterr()
    assert run(recycle.main, {"config": config}) == 0
    assert f"{len(gone)} prompts recycled by 0 newly learned" in capsys.readouterr().out
    assert tree(content["root_dir"]) == before
    for path in outputs(content):
        if path not in gone and path.with_suffix("") not in gone:
            assert path.stat().st_mtime_ns == times[path]


def test_a_prompt_that_was_tuned_again_is_recycled_again(config, content, run, capsys):
    assert run(recycle.main, {"config": config}) == 0
    before = tree(content["root_dir"])
    tuned = {}
    for path in prompts(content):
        record = json.loads(path.with_name(f"{path.name}.json").read_text())
        tuned.setdefault(record["prompt"]["path"], []).append(path)
    changed, made_from_it = next(iter(tuned.items()))
    tuned_again = 3 * load_prompt(changed).array
    with open(changed, "wb") as file:
        np.save(file, tuned_again)
    capsys.readouterr()
    assert run(recycle.main, {"config": config}) == 0
    printed = capsys.readouterr()
    assert f"{len(made_from_it)} prompts recycled by 0 newly learned" in printed.out
    assert f"{changed} was written again" in printed.err
    after = tree(content["root_dir"])
    root = pathlib.Path(content["root_dir"])
    written = {str(path.relative_to(root)) for path in made_from_it}
    differ = {name for name in after if after[name] != before[name]}
    assert differ == written | {f"{name}.json" for name in written}
    assert run(recycle.main, {"config": config}) == 0
    assert tree(content["root_dir"]) == after


@pytest.mark.slow
def test_clobber_does_it_again(content, write_config, run, capsys):
    assert run(recycle.main, {"config": write_config(content)}) == 0
    before = tree(content["root_dir"])
    count = len(prompts(content))
    prompts(content)[0].write_bytes(b"something else")
    capsys.readouterr()
    content["clobber"] = True
    assert run(recycle.main, {"config": write_config(content)}) == 0
    assert f"{count} prompts recycled by 18 newly" in capsys.readouterr().out
    assert tree(content["root_dir"]) == before


def test_the_order_of_everything_is_the_files(config, content, run):
    """Upstream's depends on the hash of texts, which differs from run to run."""
    assert run(recycle.main, {"config": config, "recycle": "false"}) == 0
    path = pathlib.Path(content["root_dir"], "cli_args-toy.txt")
    lines = path.read_text().splitlines()
    targets = [line.split("_to_")[-1] for line in lines]
    assert list(dict.fromkeys(targets)) == ["Seed_1", "Large", "Seed_0"]
    assert "/jax-nn/toy/rand-init/run_1/" in lines[0]


def test_recycle_false_only_writes_the_lists(config, content, run):
    for off in ({"recycle": "false"}, {"norecycle": None}):
        assert run(recycle.main, {"config": config, **off}) == 0
        assert not prompts(content)
        root = pathlib.Path(content["root_dir"])
        assert (
            len(manifest.read(root / "manifest-toy/Large.json").evaluations) == 7 + 48
        )


def test_manifests_list_baselines_and_prompts(config, content, run):
    assert run(recycle.main, {"config": config, "recycle": "false"}) == 0
    root = pathlib.Path(content["root_dir"])
    listed = manifest.read(root / "manifest-toy/Seed_0.json").evaluations
    assert listed[0].no_prompt
    assert [entry.random_prompt for entry in listed[1:3]] == [0, 1]
    assert listed[3].prompt == str(
        pathlib.Path(
            content["prompts"]["Seed 0"]["rand-init"]["run 1"],
            "numpy_checkpoints/checkpoint_0/encoder.prompt.prompt.prompt",
        )
    )
    assert listed[3].output_dir.endswith("baselines/toy/Seed_0/untuned-rand-init-run_1")
    assert {entry.prompt.split("_to_")[-1] for entry in listed[7:]} == {"Seed_0"}


def test_skipped_pairs_are_left_out(content, write_config, run):
    content["combination_skips"] = [["Seed 0", "Large"]]
    assert run(recycle.main, {"config": write_config(content)}) == 0
    names = {path.name for path in prompts(content)}
    assert "recycled_from_Seed_0_at_5_to_Large" not in names
    assert "recycled_from_Large_at_5_to_Seed_0" in names


@pytest.mark.slow
@pytest.mark.thorough
def test_all_steps_that_there_are(content, write_config, run):
    content["steps"] = None
    write_prompt(
        content["prompts"]["Large"]["rand-init"]["run 1"], 77, np.ones((5, 20))
    )
    assert run(recycle.main, {"config": write_config(content)}) == 0
    steps = {path.name.split("_at_")[1].split("_to_")[0] for path in prompts(content)}
    assert steps == {"0", "5", "10", "77"}


@pytest.mark.slow
def test_failures_are_reported_and_the_rest_is_done(content, write_config, run, capsys):
    root = pathlib.Path(content["root_dir"])
    gone = pathlib.Path(
        content["prompts"]["Seed 0"]["rand-init"]["run 1"],
        "numpy_checkpoints/checkpoint_5/encoder.prompt.prompt.prompt",
    )
    gone.unlink()
    wrong = pathlib.Path(
        content["prompts"]["Seed 1"]["rand-init"]["run 1"],
        "numpy_checkpoints/checkpoint_5/encoder.prompt.prompt.prompt",
    )
    wrong.write_bytes(wrong.read_bytes()[:200])
    damaged = pathlib.Path(content["pretrained"]["Large"])
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[:-1000])
    config = write_config(content)
    assert run(recycle.main, {"config": config}) == 1
    error = capsys.readouterr().err
    # Of 6 pairs, 4 have the damaged model: 24 prompts each. Of the other two, one
    # prompt, with each of three recyclers.
    assert "102 failed, listed above; the rest is done" in error
    assert len(prompts(content)) == 144 - 102
    assert str(gone) in error and "does not exist" in error
    # Mended, the same command does what is missing.
    damaged.write_bytes(whole)
    for path, width in ((gone, 12), (wrong, 12)):
        np.save(path.open("wb"), np.ones((5, width), np.float32))
    assert run(recycle.main, {"config": config}) == 0
    assert len(prompts(content)) == 144
    assert root.exists()


def test_a_prompt_that_fails_does_not_stop_those_beside_it(
    content, write_config, run, capsys
):
    """Prompts are recycled and written several at once: one has another length, one
    overflows, and one cannot be written.
    """
    content["recycling_methods"] = {"tf-lstsq": {}}
    content["steps"] = [5, 6, 7, 8]
    folder = content["prompts"]["Seed 0"]["rand-init"]["run 1"]
    for init in ("rand-init", "class-init"):
        for model, width in (("Seed 0", 12), ("Seed 1", 12), ("Large", 20)):
            for place in content["prompts"][model][init].values():
                for step in content["steps"]:
                    write_prompt(place, step, np.ones((5, width)))
    write_prompt(folder, 6, np.ones((3, 12)))
    write_prompt(folder, 7, np.full((5, 12), 3e38))
    out = pathlib.Path(content["root_dir"], "tf-lstsq/toy/rand-init/run_1")
    name = "recycled_from_Seed_0_at_8_to_Large"
    (out / f"recycled-prompt/{name}.json").mkdir(parents=True)
    config = write_config(content)
    assert run(recycle.main, {"config": config}) == 1
    error = capsys.readouterr().err
    # The one that overflows does so for both targets.
    assert "3 failed, listed above; the rest is done" in error
    assert error.count("the map blows it up") == 2
    assert f"{name}.json: it is a folder" in error
    made = prompts(content)
    assert len(made) == 6 * 2 * 2 * 4 - 3
    assert all(load_record(path)["recycled"] for path in made)
    short = out / "recycled-prompt/recycled_from_Seed_0_at_6_to_Large"
    assert load_prompt(short).array.shape == (3, 20)


@pytest.mark.thorough
def test_a_run_that_has_no_exports(content, write_config, run, capsys):
    content["steps"] = None
    content["prompts"]["Large"]["rand-init"]["run 2"] = "nowhere"
    assert run(recycle.main, {"config": write_config(content)}) == 1
    assert "cannot list the steps of nowhere/numpy_checkpoints" in (
        capsys.readouterr().err
    )
    # The other runs of the model, and all other models.
    assert len(prompts(content)) == 3 * (4 * 12 + 2 * 9)


@pytest.mark.slow
def test_other_settings_do_not_go_on_where_these_stopped(
    content, write_config, run, capsys
):
    assert run(recycle.main, {"config": write_config(content)}) == 0
    prompts(content)[0].unlink()
    content["load_embeddings"]["default"]["num_words"] = 150
    assert run(recycle.main, {"config": write_config(content)}) == 1
    assert "fitted before with other settings: the words" in capsys.readouterr().err


def test_wayward_prompts_are_recycled_with_the_pieces_of_their_text(
    content, write_config, run, tmp_path, vocabulary
):
    for inits in content["prompts"].values():
        inits["wayward"] = inits.pop("class-init")
    content["load_embeddings"]["from_string"] = {
        "vocab_file": str(vocabulary),
        "variable_path": "token_embedder/embedding",
        "string": "the film is good the film is bad",
    }
    content["recycling_methods"] = {"tf-lstsq": {}}
    assert run(recycle.main, {"config": write_config(content)}) == 0
    learned = pathlib.Path(content["root_dir"], "tf-lstsq/learned-recyclers")
    names = {path.name for path in learned.iterdir() if path.suffix != ".json"}
    assert {"Seed_0_to_Large", "Seed_0_to_Large-wayward"} <= names
    record = json.loads((learned / "Seed_0_to_Large-wayward.json").read_text())
    assert record["words"]["text"] == "the film is good the film is bad"
    by_text = Words.from_text("the film is good the film is bad", vocabulary)
    assert record["words"]["fitted"] == len(by_text.fitted)
    prompt = pathlib.Path(
        content["root_dir"],
        "tf-lstsq/toy/wayward/run_1/recycled-prompt/recycled_from_Seed_0_at_5_to_Large",
    )
    assert load_record(prompt)["words"] == record["words"]


@pytest.mark.slow
@pytest.mark.thorough
def test_paths_in_the_home_folder(content, write_config, run, tmp_path, monkeypatch):
    assert run(recycle.main, {"config": write_config(content)}) == 0
    expected = tree(content["root_dir"])
    shutil.move(content["root_dir"], tmp_path / "expected")
    monkeypatch.setenv("HOME", str(tmp_path))
    text = json.dumps(content).replace(str(tmp_path), "~")
    config = write_config(json.loads(text))
    assert run(recycle.main, {"config": f"~/{pathlib.Path(config).name}"}) == 0
    assert tree(content["root_dir"]) == expected


@pytest.mark.thorough
def test_a_root_with_a_space_is_left_as_it_is(content, write_config, run, tmp_path):
    content["root_dir"] = str(tmp_path / "my sweep")
    assert run(recycle.main, {"config": write_config(content)}) == 0
    assert len(prompts(content)) == 144
    assert not (tmp_path / "my_sweep").exists()


def test_the_checkpoints_of_t5x(content, write_config, run, tmp_path, write_orbax):
    """Models in checkpoints, and their rows read once for all methods."""
    for model, path in content["pretrained"].items():
        table = open_checkpoint(path).read("any")
        write_orbax(
            tmp_path / "t5x" / model / "checkpoint_3",
            {"target/token_embedder/embedding": table},
        )
        content["pretrained"][model] = str(tmp_path / "t5x" / model)
    assert run(recycle.main, {"config": write_config(content)}) == 0
    assert len(prompts(content)) == 144


def test_a_folder_that_cannot_be_written_to(content, write_config, run, capsys):
    blocked = pathlib.Path(content["root_dir"])
    blocked.write_text("a file")
    assert run(recycle.main, {"config": write_config(content)}) == 1
    assert f"cannot write to {blocked}" in capsys.readouterr().err


def test_no_workers(config, run, capsys):
    assert run(recycle.main, {"config": config, "workers": "0"}) == 1
    assert "--workers" in capsys.readouterr().err


def test_a_scheduler_that_is_not_there(config, run, capsys, tmp_path):
    nowhere = str(tmp_path / "scheduler.json")
    assert run(recycle.main, {"config": config, "scheduler": nowhere}) == 1
    assert "cannot reach a Dask scheduler" in capsys.readouterr().err


def test_mistakes_are_all_printed_and_nothing_is_done(
    content, write_config, run, capsys
):
    content["recycling_methods"]["tf-lstq"] = {}
    content["step"] = [5]
    assert run(recycle.main, {"config": write_config(content)}) == 1
    error = capsys.readouterr().err.splitlines()
    assert len(error) == 3
    assert "recycling_methods.tf-lstq" in error[0]
    assert "Did you mean tf-lstsq" in error[0]
    assert "step: there is no such setting. Did you mean steps?" in error[1]
    assert error[2].startswith("error: ")
    assert "has 2 mistakes, listed above; nothing was done" in error[2]
    assert not pathlib.Path(content["root_dir"]).exists()
