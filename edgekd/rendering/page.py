"""What every page of ours is made with: templates that escape, and a policy that lets nothing foreign run or load."""

import base64
import hashlib
from functools import partial

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from edgekd.rendering.outline import beside_teacher, noise, session_words, standing
from edgekd.rendering.svg.meter import budget_meter
from edgekd.rendering.tables import sort_key
from edgekd.rendering.text import (
    METRIC_TITLES,
    VERDICT_WORDS,
    actual,
    actual_interval,
    clean,
    count,
    interval,
    limit,
    quantity,
    where,
)

_MARKS = {"pass": "\u2713", "missed": "\u2715", "inconclusive": "?"}
_WORD_MARKS = {"measured": "\u25cf", "emulated": "\u25d0", "estimated": "\u25cb"}
_POLICY = "default-src 'none'; style-src '{style}'; script-src '{script}'; base-uri 'none'; form-action 'none'"


def environment() -> Environment:
    """Return the templates with our filters; whatever they are given is escaped."""
    made = Environment(
        loader=PackageLoader("edgekd.rendering", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "clean": clean,
        "sentence": partial(clean, longest=500),
        "code": _code,
        "quantity": lambda value, unit: _thin(quantity(value, unit)),
        "count": lambda value: _thin(count(value)),
        "interval": interval,
        "limit": lambda outcome: _thin(limit(outcome)),
        "where": where,
        "actual": lambda outcome: _thin(actual(outcome)),
        "actual_interval": actual_interval,
        "beside_teacher": beside_teacher,
        "noise": noise,
        "session_words": session_words,
        "standing": standing,
        "meter": budget_meter,
        "sort_key": sort_key,
    }
    style, script = (_source(made, name) for name in ("report.css", "sort.js"))
    made.globals |= {
        "metric_titles": METRIC_TITLES,
        "verdict_words": VERDICT_WORDS,
        "verdict_marks": _MARKS,
        "word_marks": _WORD_MARKS,
        "style": Markup(style),
        "script": Markup(script),
        "policy": _POLICY.format(style=_hash(style), script=_hash(script)),
    }
    return made


def _source(templates: Environment, name: str) -> str:
    assert templates.loader is not None
    return templates.loader.get_source(templates, name)[0]


def _hash(text: str) -> str:
    """How a Content-Security-Policy names an inline element: by the digest of its text."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _thin(text: str) -> Markup:
    """Put a narrow unbreakable space before the unit, so that a number never parts from it."""
    number, space, unit = text.rpartition(" ")
    return escape(f"{number}\u202f{unit}" if space else text)


def _code(text: str) -> Markup:
    """Clean several lines one by one, so that a hostile one cannot hide the next."""
    return Markup("\n").join(clean(line, longest=2000) for line in text.splitlines()[:400])
