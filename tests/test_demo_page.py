"""The demo's page, made of outcomes that nothing was run for."""

import pathlib
import re
import subprocess
import sys

from prompt_tuning_recycling.sweep.report.rendering import render

CHECKOUT = pathlib.Path(__file__).resolve().parent.parent
# The checkout comes last: what is installed is tested.
MAKE_PAGE = """
import pathlib, sys
sys.path.append(sys.argv[1])
from examples.demo import report, results, story

def outcome(trial):
    last = 97.0 if trial.method in ("v2v-nn", story.CHOSEN) else 96.0
    return results.Outcome(trial, ((1600, 50.0), (1610, last)))

stages = story.stages(pathlib.Path("R&D"))
jobs = [job for stage in stages for job in stage.jobs]
examples = {job.command.program: job.command for job in reversed(jobs)}
outcomes = [outcome(trial) for job in jobs for trial in job.trials]
print(report.page(outcomes, examples))
"""


def style(page):
    return re.search(r"<style>\n:root.*?</style>", page, re.DOTALL)[0]


def test_the_demos_page():
    done = subprocess.run(
        [sys.executable, "-c", MAKE_PAGE, CHECKOUT],
        capture_output=True,
        text=True,
        check=True,
    )
    page = done.stdout
    assert page.count("<svg") == 3
    text = " ".join(page.split())
    assert "12 of 12 chosen prompts beat every baseline" in text
    assert "12 of 36 do" in text
    assert "95&nbsp;% after 10 steps (median; most 10) from a chosen prompt" in text
    assert "R&D" not in page and "R&amp;D/choices" in page
    # It looks like every other page.
    assert style(page) == style(render("base.html.jinja"))
