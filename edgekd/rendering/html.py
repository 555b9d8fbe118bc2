"""The report as one self-contained HTML page: no request, no foreign script, readable on a phone and on paper."""

import json

from edgekd.rendering import plots, time_plots
from edgekd.rendering.class_plots import class_plot, confusion_plot
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
    device_tables,
    failing,
    file_name,
    flattened,
    metric_names,
    missing_data,
    teacher_worth,
)
from edgekd.rendering.page import environment
from edgekd.rendering.quantization import climbed, quantization_tables
from edgekd.rendering.quantization_plots import noise_plot
from edgekd.rendering.text import BRACKETS, clean, titled
from edgekd.results import Report


def render_html(report: Report) -> str:
    """Return the page. Everything foreign is cleaned, shortened and escaped; every figure has its word and interval."""
    page = environment().get_template("report.html.j2")
    models = compared(report)
    score = titled(clean(report.score_name or "score"))
    figures = [row.figures for row in models]
    latencies = latency_columns(figures)
    cost = column(HOST_COST, [c.host_ratio_to_fp32 for c in report.candidates])
    return page.render(
        report=report,
        name=file_name(report.model.path),
        failing=failing(report),
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
        climbed=climbed(report),
        quantization_tables=quantization_tables(report),
        noise_plot=noise_plot(report),
        waterfall=plots.waterfall_plots(report),
        pareto=plots.pareto_plot(report),
        training=plots.training_plot(report),
        classes=[plot for plot in (class_plot(report), confusion_plot(report)) if plot],
        resources=time_plots.resource_plots(report),
        devices=time_plots.devices_plot(report),
        device_tables=device_tables(report),
    )
