"""The frame of a page: one file without script or network, for a desk and for a phone."""

from __future__ import annotations

from collections.abc import Sequence

from recorder.report.svg import STYLE, words

_CSS = """
:root{color-scheme:light dark;--ink:#1b1f23;--dim:#59636e;--grid:#d8dee4;--paper:#fff;
--a:#0072b2;--b:#d55e00}
@media (prefers-color-scheme:dark){:root{--ink:#e6e8ea;--dim:#9aa4ae;--grid:#343b42;
--paper:#14181c;--a:#56b4e9;--b:#e69f00}}
body{margin:0 auto;padding:1rem;max-width:42rem;background:var(--paper);color:var(--ink);
font:1rem/1.5 system-ui,sans-serif;overflow-wrap:anywhere}
h1{font-size:1.5rem;line-height:1.2} h2{font-size:1.15rem;line-height:1.3;margin:2.5rem 0 .5rem}
h3{font-size:1rem;margin:1.5rem 0 .25rem} p{margin:.5rem 0} .soft{color:var(--dim)}
.scroll{overflow-x:auto;margin:.75rem 0}
table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:.95rem;
overflow-wrap:normal}
th,td{padding:.25rem .6rem .25rem 0;text-align:left;border-bottom:1px solid var(--grid)}
th{font-weight:600} td.n,th.n{text-align:right;white-space:nowrap}
"""


PAGE_BEGINS = '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8"/>'


def html_page(title: str, body: str, *, more_css: str = "", media: bool = False) -> str:
    """The whole file; `media` lets pictures and sound that lie in the page itself be shown."""
    allowed = "default-src 'none';style-src 'unsafe-inline'"
    if media:
        allowed += ";img-src data:;media-src data:"
    return (
        f'{PAGE_BEGINS}\n<meta name="viewport" content="width=device-width,initial-scale=1"/>\n'
        f'<meta http-equiv="Content-Security-Policy" content="{allowed}"/>\n'
        f"<title>{words(title)}</title>\n<style>{_CSS}{STYLE}{more_css}</style>\n</head>\n<body>\n"
        f"<h1>{words(title)}</h1>\n{body}\n</body>\n</html>\n"
    )


def section(title: str, said: str, content: str = "") -> str:
    """A heading, what it says, and a chart or the like that may be wider than a phone."""
    return f"<h2>{words(title)}</h2>{say(said)}{scroll(content) if content else ''}"


def say(said: str) -> str:
    """A paragraph; its text is escaped."""
    return f"<p>{words(said)}</p>"


def scroll(content: str) -> str:
    """What is too wide for a phone scrolls by itself, by touch or keys, and not the page."""
    return f'<div class="scroll" tabindex="0">{content}</div>'


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[int]) -> str:
    """`numbers` are the columns set flush right; long names may break behind their `_`."""

    def row(cells: Sequence[str], tag: str) -> str:
        content = ""
        for place, cell in enumerate(cells):
            kind = ' class="n"' if place in numbers else ""
            content += f"<{tag}{kind}>{words(cell).replace('_', '_<wbr/>')}</{tag}>"
        return f"<tr>{content}</tr>"

    body = "".join(row(cells, "td") for cells in rows)
    return scroll(f"<table><thead>{row(heads, 'th')}</thead><tbody>{body}</tbody></table>")
