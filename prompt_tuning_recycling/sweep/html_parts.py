"""Pieces of HTML: tables that a phone can scroll, heat maps, and a page around them."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

_STYLE = """
:root { color-scheme: light; }
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif;
  color: #1d1d1f; background: #fff; max-width: 68rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: .6rem 0; }
h2 { font-size: 1.2rem; margin: 2.2rem 0 .4rem; border-top: 1px solid #ddd;
  padding-top: 1rem; }
h3 { font-size: 1rem; margin: 1.2rem 0 .3rem; }
p, li { max-width: 44rem; }
a { color: #0060a8; }
.figures { columns: 2 26rem; column-gap: 2rem; }
figure { margin: 0 0 1.2rem; break-inside: avoid; }
figure svg { width: 100%; max-width: 34rem; height: auto; display: block; }
figcaption, .note { font-size: .875rem; color: #555; max-width: 44rem; }
.scroll { overflow-x: auto; -webkit-overflow-scrolling: touch; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums;
  font-size: .9rem; margin: .4rem 0; }
th, td { padding: .25rem .6rem; text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
thead th { border-bottom: 1px solid #999; font-weight: 600; }
table.left td, table.left th { text-align: left; }
tr.first td { border-top: 1px solid #ccc; }
.heat td { text-align: center; min-width: 3.4rem; border: 1px solid #fff;
  -webkit-print-color-adjust: exact; print-color-adjust: exact; }
.heat th { font-weight: 500; }
.heat tbody th { text-align: left; }
.heats { display: flex; flex-wrap: wrap; gap: .4rem 2rem; }
.big { font-size: 1.15rem; }
details { margin: .6rem 0; }
summary { cursor: pointer; font-weight: 600; }
pre { background: #f5f5f7; padding: .8rem; overflow-x: auto; font-size: .8rem; }
@media (max-width: 40rem) { body { padding: .7rem; font-size: 15px; }
  th, td { padding: .25rem .35rem; }
  table:not(.left):not(.heat) td:first-child { white-space: normal; min-width: 5.5rem;
    position: sticky; left: 0; background: #fff; } }
@media print { body { font-size: 10pt; max-width: none; padding: 0; }
  .figures { columns: 2; column-gap: 1rem; }
  h2 { break-after: avoid; } .heats > div { break-inside: avoid; }
  .scroll { overflow: visible; } pre { white-space: pre-wrap; }
  a { color: inherit; text-decoration: none; } }
"""


def page(title: str, parts: Iterable[str]) -> str:
    """Returns a whole page, which needs nothing else."""
    body = "\n".join(parts)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n"
        f"<body>\n{body}\n</body>\n</html>\n"
    )


def escape(text: object) -> str:
    """Returns text as HTML."""
    return html.escape(str(text))


def table(
    header: Sequence[str], groups: Iterable[Sequence[Sequence[str]]], style: str = ""
) -> str:
    """Returns a table of cells that are HTML, with a line between groups of rows."""
    lines = [f'<div class="scroll"><table class="{style}"><thead><tr>']
    lines += [f'<th scope="col">{cell}</th>' for cell in header]
    lines.append("</tr></thead><tbody>")
    for number, rows in enumerate(groups):
        for first, row in enumerate(rows):
            mark = ' class="first"' if number and not first else ""
            lines.append(
                f"<tr{mark}>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>"
            )
    lines.append("</tbody></table></div>")
    return "\n".join(lines)


def heat_map(
    title: str,
    rows: Sequence[str],
    columns: Sequence[str],
    cells: dict[tuple[str, str], tuple[float, str]],
    corner: str,
) -> str:
    """Returns a table of colored cells.

    Args:
      title: what is above it.
      rows: names.
      columns: names.
      cells: row, column -> share from 0 to 1 that gives the color, and text.
      corner: what rows and columns are.
    """
    lines = [
        f'<div><h3>{escape(title)}</h3><div class="scroll"><table class="heat">',
        f'<thead><tr><th scope="col">{escape(corner)}</th>',
        *(f'<th scope="col">{escape(name)}</th>' for name in columns),
        "</tr></thead><tbody>",
    ]
    for row in rows:
        lines.append(f'<tr><th scope="row">{escape(row)}</th>')
        for column in columns:
            if (row, column) in cells:
                share, text = cells[row, column]
                lines.append(f'<td style="{_colors(share)}">{escape(text)}</td>')
            else:
                lines.append('<td style="background:#f5f5f7"></td>')
        lines.append("</tr>")
    return "".join([*lines, "</tbody></table></div></div>"])


def _colors(share: float) -> str:
    """From pale to dark blue: read as well in gray, and by the color-blind."""
    share = min(max(share, 0.0), 1.0)
    pale, dark = (236, 243, 250), (8, 72, 135)
    mixed = [round(a + (b - a) * share) for a, b in zip(pale, dark, strict=True)]
    text = "#fff" if share > 0.5 else "#1d1d1f"
    return f"background:rgb({mixed[0]},{mixed[1]},{mixed[2]});color:{text}"
