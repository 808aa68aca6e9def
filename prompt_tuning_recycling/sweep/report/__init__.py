"""A sweep's report: one HTML page that contains its pictures and needs no network."""

from prompt_tuning_recycling.sweep.configuration import Configuration
from prompt_tuning_recycling.sweep.report import page
from prompt_tuning_recycling.sweep.report.rendering import render
from prompt_tuning_recycling.sweep.results import Results


def report(sweep: Configuration, results: Results, metric: str) -> str:
    """Returns the page.

    Args:
      sweep: the sweep.
      results: its results so far.
      metric: the metric that prompts are compared by; higher is better.
    """
    return render("report.html.jinja", **page.content(sweep, results, metric))
