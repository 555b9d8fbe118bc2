"""How int8 was made, as sentences and tables of plain cells: the ladder, what pays on the target, noise by layer."""

from edgekd.quantization import Fault, FusionVerdict, LadderStep, SchemeFile
from edgekd.rendering.tables import Cell, Table
from edgekd.results import Report

MOST = 12
"""Rows of the tables by layer; the rest is in results.json."""
LEFT_BETWEEN = ("Cast", "DequantizeLinear", "QuantizeLinear", "Transpose")


def climbed(report: Report) -> str:
    """How far the ladder was climbed, in a sentence; "" where it was not needed or there were no data."""
    steps = report.ladder
    if len(steps) < 2:
        return ""
    last, first = steps[-1], steps[0]
    wanted = f"{_percent(first.enough)} on validation were wanted"
    began = "was broken" if first.score is None else f"scored {_percent(first.score)}"
    if last.inside:
        return f"{first.scheme} {began} where {wanted}; {last.scheme} mended it, {_percent(last.score)}."
    scored = [step for step in steps if step.score is not None]
    if not scored:
        return "Every int8 scheme was broken."
    best = max(scored, key=lambda step: step.score or 0.0)
    return f"No int8 scheme was enough where {wanted}; the best is {best.scheme}, {_percent(best.score)}."


def quantization_tables(report: Report) -> tuple[Table, ...]:
    """The ladder, what int8 costs on the target, where it breaks off, and noise by layer, as far as there are any."""
    shown = shown_file(report)
    made = [_ladder(report.ladder), _costs(report), _made(report)]
    if shown is not None:
        made += [_faults(shown), _layers(shown)]
    return tuple(table for table in made if table.rows)


def shown_file(report: Report) -> SchemeFile | None:
    """The int8 file whose layers are shown: what shipped, else the first that has any."""
    shipped = next((one.scheme for one in report.candidates if one.chosen), "")
    known = [one for one in report.files if one.layers or one.fusion]
    return next((one for one in known if one.scheme == shipped), known[0] if known else None)


def _ladder(steps: tuple[LadderStep, ...]) -> Table:
    rows = tuple((step.scheme, _percent(step.score), _percent(step.enough), _outcome(step)) for step in steps)
    note = "Schemes of rising effort, tried until one is enough; scores are of at most 2,048 validation samples."
    return Table("The ladder", ("Scheme", "Score", "Enough", "Outcome"), rows, note)


def _outcome(step: LadderStep) -> str:
    return step.reason or ("enough" if step.inside else "too low")


def _costs(report: Report) -> Table:
    rows = tuple(_cost(one, one.fusion) for one in report.files if one.fusion is not None)
    note = (
        f"Predicted for {report.target} from the graph as its runtime would optimise it; int8 pays below 0.98. Counted "
        "there: Q/DQ pairs, casts and transposes that are left, and the share that is really int8."
    )
    header = (
        "Scheme",
        "Cost against float",
        "Pays",
        "Left between",
        "MACs in int8",
        "Parameters in int8",
        "Layers float",
    )
    return Table("What int8 costs on the target", header, rows, note)


def _cost(file: SchemeFile, fusion: FusionVerdict) -> tuple[Cell, ...]:
    left = [f"{fusion.left[kind]} {kind}" for kind in LEFT_BETWEEN if fusion.left.get(kind)]
    macs, parameters = (file.share.macs, file.share.parameters) if file.share else (None, None)
    return (
        file.scheme,
        fusion.ratio,
        "yes" if fusion.pays else "no",
        ", ".join(left) or "nothing",
        _whole(macs),
        _whole(parameters),
        str(len(file.left_float)),
    )


def _made(report: Report) -> Table:
    rows = [(one.scheme, "; ".join(one.notes)) for one in report.files if one.notes]
    rows += [(scheme, f"does not apply: {reason}") for scheme, reason in report.skipped.items()]
    return Table("Notes on schemes", ("Scheme", "What was found"), tuple(rows), "", folded=True)


def _faults(file: SchemeFile) -> Table:
    faults: tuple[Fault, ...] = file.fusion.faults if file.fusion else ()
    rows = tuple(
        (fault.node, fault.operator, f"{100 * fault.share:.1f} %", fault.why, fault.mend) for fault in faults[:MOST]
    )
    note = "By what is left beside each, as a share of the predicted cost."
    if len(faults) > MOST:
        note += f" The {MOST} largest of {len(faults)}."
    return Table(
        f"Where {file.scheme} breaks off",
        ("Node", "Operator", "Costs", "Why", "What mends it"),
        rows,
        note,
        folded=True,
    )


def _layers(file: SchemeFile) -> Table:
    worst = sorted(file.layers, key=lambda one: one.sqnr_db)[:MOST]
    rows = [(one.node, one.operator, f"{one.sqnr_db:.1f} dB", "int8") for one in worst]
    rows += [(name, "", "", "float") for name in file.left_float[:MOST]]
    note = f"Signal to noise at a node's output with the noise of all before it; the {len(worst)} worst."
    if file.left_float:
        note += f" Left float: {len(file.left_float)} of the nodes that have an int8 form."
    return Table(
        f"Noise by layer, {file.scheme}", ("Node", "Operator", "Signal", "Stored as"), tuple(rows), note, folded=True
    )


def _percent(score: float | None) -> str:
    return "not scored" if score is None else f"{100 * score:.2f} %"


def _whole(share: float | None) -> str:
    return "not known" if share is None else f"{100 * share:.0f} %"
