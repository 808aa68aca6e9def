"""Renders pages from templates that share a base, its style and its colors."""

from __future__ import annotations

import pathlib
from typing import Any

import jinja2

from prompt_tuning_recycling.sweep.report import palette

_TEMPLATES = pathlib.Path(__file__).parent / "templates"


def render(template: str, folder: pathlib.Path = _TEMPLATES, **content: Any) -> str:
    """Returns a self-contained page.

    Args:
      template: the name of the template's file.
      folder: the template's folder. The template can always extend and import the
        templates beside this module as well.
      content: the template's variables. Text is escaped, `Markup` is not.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([folder, _TEMPLATES]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.globals["palette"] = palette
    return environment.get_template(template).render(content)
