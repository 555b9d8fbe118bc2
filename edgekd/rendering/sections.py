"""A page of sections, each of sentences, plots and tables, as HTML or Markdown: what several runs are shown on."""

from dataclasses import dataclass

from edgekd.rendering.gfm import bullets, escape, laid_out
from edgekd.rendering.page import environment
from edgekd.rendering.plots import Plot
from edgekd.rendering.tables import Table


@dataclass(frozen=True)
class Section:
    """One part of a page; `anchor` is its id there. Foreign strings are not escaped yet."""

    anchor: str
    title: str
    sentences: tuple[str, ...] = ()
    plots: tuple[Plot, ...] = ()
    tables: tuple[Table, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether there is nothing to show."""
        return not (self.sentences or self.plots or any(table.rows for table in self.tables))


@dataclass(frozen=True)
class Page:
    """A whole page. `tone` is the class that colours its top; `stamp` is what is read first there."""

    title: str
    stamp: str
    tone: str
    headline: str
    sections: tuple[Section, ...]


def page_html(page: Page) -> str:
    """Return the page as one file that loads nothing."""
    shown = [section for section in page.sections if not section.empty]
    return environment().get_template("sections.html.j2").render(page=page, sections=shown)


def page_markdown(page: Page) -> str:
    """Return the page without its plots, whose figures its tables hold."""
    blocks = [f"# {escape(page.title, longest=200)}", f"**{escape(page.stamp)}**", escape(page.headline, longest=500)]
    for section in page.sections:
        if section.empty:
            continue
        found = [block for table in section.tables if table.rows for block in laid_out(table)]
        blocks += [bullets(escape(section.title), section.sentences) or f"## {escape(section.title)}", *found]
    return "\n\n".join(block for block in blocks if block) + "\n"
