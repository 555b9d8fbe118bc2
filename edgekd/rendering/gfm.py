"""GitHub-flavoured Markdown: foreign strings without their markup, tables, fences, lists."""

import re
from collections.abc import Iterable, Sequence

from edgekd.rendering.tables import Cell, Table
from edgekd.rendering.text import MISSING, clean, spoken


def escape(text: object, *, longest: int = 80) -> str:
    """Clean a foreign string and take the meaning from every character that Markdown or HTML would read as markup."""
    shown = clean(text, longest=longest).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    shown = re.sub(r"([\\`*|~])", r"\\\1", shown)
    shown = re.sub(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", r"\\_", shown)
    shown = re.sub(r"\](?=[(\[:])", r"\\]", shown)  # a bracket is markup only as a link, [27.1, 27.7] is none
    shown = re.sub(r"^(?=[#\[+-])", r"\\", shown)
    return shown.replace("://", ":&#47;&#47;").replace("www.", "www&#46;")


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Lay out cells that are already escaped."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cell or MISSING for cell in line)} |" for line in lines)


def laid_out(shown: Table) -> list[str]:
    """A table with its title and note, as blocks."""
    rows = [[_cell(cell) for cell in row] for row in shown.rows]
    header = [escape(name) for name in shown.header]
    return [f"### {escape(shown.title)}", table(header, rows), escape(shown.note, longest=300)]


def _cell(cell: Cell) -> str:
    return escape(cell if isinstance(cell, str) else spoken(cell), longest=300)


def table_section(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Cells that are already escaped under a heading; "" without rows."""
    return f"## {title}\n\n{table(header, rows)}" if rows else ""


def bullets(title: str, sentences: Sequence[str]) -> str:
    """Sentences as a list under a heading; "" without any."""
    return f"## {title}\n\n" + "\n".join(f"- {escape(text, longest=500)}" for text in sentences) if sentences else ""


def fenced(code: str) -> str:
    """Fence a command with more backticks than the longest run inside."""
    shown = clean(code, longest=4000)
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", shown)), default=0))
    return f"{fence}sh\n{shown}\n{fence}"
