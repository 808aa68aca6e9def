"""What the documentation shows works as it stands there."""

import pathlib
import re

import numpy as np
import pytest

from prompt_tuning_recycling import recyclers
from prompt_tuning_recycling.recyclers import registry

CHECKOUT = pathlib.Path(__file__).resolve().parent.parent


def python_blocks(page):
    return re.findall(r"```python\n(.*?)```", (CHECKOUT / page).read_text(), re.S)


def test_a_recycler_of_ones_own(monkeypatch, source_table, prompt):
    monkeypatch.setattr(registry, "_BY_NAME", dict(registry._BY_NAME))
    (example,) = python_blocks("docs/recyclers.md")
    exec(compile(example, "docs/recyclers.md", "exec"), {"__name__": "example"})
    recycler = recyclers.make("mean-shift", scale=2.0)
    found = recycler.fit(source_table, source_table + 1).map
    np.testing.assert_allclose(found.apply(prompt), prompt + 2, rtol=1e-5)


def test_the_readmes_python(tmp_path, monkeypatch, write_orbax, rng):
    """The example runs on models of the T5 vocabulary at the paths that it names."""
    monkeypatch.chdir(tmp_path)
    shared = rng.normal(size=(32128, 8))
    for name, width in (("source", 8), ("target", 12)):
        table = shared @ rng.normal(size=(8, width))
        write_orbax(
            tmp_path / name / "checkpoint_1000",
            {"target/token_embedder/embedding": table.astype(np.float32)},
        )
    np.save("prompt.npy", rng.normal(size=(5, 8)))
    (example,) = python_blocks("README.md")
    exec(compile(example, "README.md", "exec"), {})
    with open("recycled.npy", "rb") as file:
        assert np.load(file).shape == (5, 12)


def test_the_road_from_nothing_is_the_scripts():
    page = (CHECKOUT / "docs/t5x.md").read_text()
    section = page.partition("\n## From nothing\n")[2].partition("\n## ")[0]
    blocks = re.findall(r"```\n(python -m t5x.*?)```", section, re.S)
    script = (CHECKOUT / "examples/t5x/from_nothing.sh").read_text()
    # The script sends each log to a file.
    script = re.sub(r" 2> \S+$", "", script, flags=re.M)
    assert len(blocks) > 3
    for block in blocks:
        assert block in script


PAGES = [
    *(CHECKOUT / name for name in ("README.md", "SECURITY.md", "CHANGELOG.md")),
    *sorted((CHECKOUT / "docs").glob("*.md")),
]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page):
    for link in re.findall(r"\]\(([^)]+)\)", text_of(page)):
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), f"{page.name}: {link}"
        assert not anchor or anchor in anchors(target), f"{page.name}: {link}"


def text_of(page):
    """A page without its blocks of code, in which `#` begins no heading."""
    return re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S)


def anchors(page):
    """What GitHub calls a page's headings in links."""
    headings = re.findall(r"^#+ (.*)$", text_of(page), re.M)
    return [re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings]
