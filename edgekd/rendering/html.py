"""The report as one self-contained HTML page: no script, no request, readable on a phone, in the dark and on paper."""

import json
from functools import partial

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from edgekd.rendering import plots
from edgekd.rendering.columns import ONE_LATENCY, column, latency_columns, memory_column, score_column
from edgekd.rendering.judgement import inherited, judged, judgement_tables
from edgekd.rendering.judgement_plots import judgement_plots
from edgekd.rendering.outline import (
    HOST_COST,
    HOW_COMPARED,
    HOW_RUN,
    SESSION_COST,
    absent,
    compared,
    flattened,
    metric_names,
    missing_data,
    noise,
    session_words,
    standing,
    teacher_worth,
)
from edgekd.rendering.svg.meter import budget_meter
from edgekd.rendering.text import (
    BRACKETS,
    METRIC_TITLES,
    VERDICT_WORDS,
    actual,
    actual_interval,
    clean,
    count,
    interval,
    limit,
    quantity,
    titled,
    where,
)
from edgekd.results import Report

_MARKS = {"pass": "\u2713", "missed": "\u2715", "inconclusive": "?"}
_WORD_MARKS = {"measured": "\u25cf", "emulated": "\u25d0", "estimated": "\u25cb"}


def render_html(report: Report) -> str:
    """Return the page. Everything foreign is cleaned, shortened and escaped; every figure has its word and interval."""
    page = _environment().get_template("report.html.j2")
    models = compared(report)
    score = titled(clean(report.score_name or "score"))
    figures = [row.figures for row in models]
    latencies = latency_columns(figures)
    cost = column(HOST_COST, [c.host_ratio_to_fp32 for c in report.candidates])
    return page.render(
        report=report,
        models=models,
        model_score=score_column(score, figures),
        model_columns=(*latencies, memory_column(figures)),
        candidate_columns=(score_column(score, report.candidates), latency_columns(report.candidates)[-1], cost),
        brackets=BRACKETS,
        one_latency=ONE_LATENCY if len(latencies) == 1 else "",
        how_compared=HOW_COMPARED,
        session_columns=(
            column("Peak memory", [trial.peak_memory_kib for trial in report.sessions]),
            column(SESSION_COST, [trial.cost for trial in report.sessions]),
        ),
        how_run=HOW_RUN,
        splits=flattened(report.splits or {}),
        absent=absent(report),
        metrics=metric_names(report),
        notice=missing_data(report),
        worth=teacher_worth(report),
        environment=flattened(report.environment),
        recipe=json.dumps(report.recipe, indent=2, default=str),
        judged=judged(report),
        inherited=inherited(report),
        judgement_tables=judgement_tables(report),
        judgement=judgement_plots(report),
        comparison=plots.comparison_plots(report),
        pareto=plots.pareto_plot(report),
        training=plots.training_plot(report),
        classes=plots.class_plot(report),
        operators=plots.operator_plot(report),
        histogram=plots.histogram_plot(report),
        memory=plots.memory_plot(report),
    )


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("edgekd.rendering", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
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
        "noise": noise,
        "session_words": session_words,
        "standing": standing,
        "meter": budget_meter,
    }
    environment.globals |= {
        "metric_titles": METRIC_TITLES,
        "verdict_words": VERDICT_WORDS,
        "verdict_marks": _MARKS,
        "word_marks": _WORD_MARKS,
    }
    return environment


def _thin(text: str) -> Markup:
    """Put a narrow unbreakable space before the unit, so that a number never parts from it."""
    number, space, unit = text.rpartition(" ")
    return escape(f"{number}\u202f{unit}" if space else text)


def _code(text: str) -> Markup:
    """Clean several lines one by one, so that a hostile one cannot hide the next."""
    return Markup("\n").join(clean(line, longest=2000) for line in text.splitlines()[:400])
