"""The plain page that each service shows at its root."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from starlette.responses import HTMLResponse

STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 54rem; margin: 2rem auto; padding: 0 1rem; }
pre { padding: .8rem 1rem; overflow-x: auto; border: 1px solid #8886; border-radius: .4rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .25rem .8rem .25rem 0; border-bottom: 1px solid #8884;
  vertical-align: top; }
"""


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Lay rows out as an HTML table, everything in it escaped."""
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows
    )
    titles = "".join(f"<th>{escape(title)}</th>" for title in head)
    return f"<table><thead><tr>{titles}</tr></thead><tbody>{body}</tbody></table>"


def commands(lines: str) -> str:
    """Show lines to be typed in a shell."""
    return f"<pre><code>{escape(lines.strip())}</code></pre>"


def render(title: str, lead: str, sections: Iterable[tuple[str, str]]) -> HTMLResponse:
    """Make the page.

    Parameters
    ----------
    title, lead : str
        Plain text.
    sections : iterable of (str, str)
        Each a heading in plain text and a body in HTML.

    Returns
    -------
    HTMLResponse
    """
    parts = "".join(f"<h2>{escape(heading)}</h2>{body}" for heading, body in sections)
    return HTMLResponse(
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{STYLE}</style></head><body><h1>{escape(title)}</h1><p>{escape(lead)}</p>{parts}"
        '<p><a href="docs">All routes</a> · <a href="health">health</a> · '
        '<a href="limits">limits</a> · <a href="metrics">metrics</a></p></body></html>'
    )
