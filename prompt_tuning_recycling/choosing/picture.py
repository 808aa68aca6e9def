"""The picture of a choice: each candidate's value as a bar."""

from __future__ import annotations

import io
from typing import Any

from prompt_tuning_recycling.choosing.choice import Choice

_LABELS = {
    "agreement": "agreement with the teacher",
    "information": "label likelihood × mutual information, nats",
    "likelihood": "likelihood per token of the teacher's answers",
}
_CHOSEN, _OTHER = "#0b6fb8", "#b9c4cc"


def svg(choice: Choice) -> str:
    """Returns a picture as an SVG document with reproducible bytes."""
    import matplotlib
    from matplotlib.figure import Figure

    style: Any = {
        "svg.fonttype": "none",
        "svg.hashsalt": "choice",
        # A name may contain dollar signs, which are not math.
        "text.parse_math": False,
        "font.size": 10,
    }
    names = list(choice.values)
    values = [choice.values[name][choice.criterion] for name in names]
    colors = [_CHOSEN if name == choice.chosen else _OTHER for name in names]
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(4.8, 0.32 * len(names) + 0.9), layout="constrained")
        axes = figure.subplots()
        bars = axes.barh(range(len(names)), values, color=colors)
        axes.bar_label(bars, [f"{value:.3f}" for value in values], padding=3)
        axes.set_yticks(range(len(names)), names)
        axes.invert_yaxis()
        axes.set_xlabel(_LABELS[choice.criterion])
        axes.spines[["top", "right"]].set_visible(False)
        axes.margins(x=0.15)
        stream = io.StringIO()
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(stream, format="svg", metadata=nothing)
    return stream.getvalue()
