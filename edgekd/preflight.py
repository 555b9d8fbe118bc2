"""What can be refused before anything is decoded or trained, and before torch is imported, which takes seconds."""

import ast
import importlib.util
import shlex
from collections.abc import Collection
from pathlib import Path

from edgekd.artifact.licences import parse_licences
from edgekd.budget import parse_budgets
from edgekd.command_line import option_words
from edgekd.data.classes import read_classes
from edgekd.device import DeviceProfile, resolve
from edgekd.errors import BadInput, UsageError, did_you_mean
from edgekd.formats.identify import FileKind, identify
from edgekd.recipe import CODE_FIELDS, Recipe, code_file
from edgekd.runtimes import RUNTIMES
from edgekd.schemes.ladder import RUNGS
from edgekd.schemes.names import parse_scheme
from edgekd.schemes.offered import runs_in
from edgekd.schemes.table import SCHEMES
from edgekd.sound_options import parse_duration
from edgekd.units import parse_seconds


def check_plan(plan: Recipe, *, out: Path | None = None) -> None:
    """Check every name, text and path of the plan, and what kind of file the model is; no code of the user's is run.

    Args:
        out: the run folder that the user named, for the command that an error proposes.

    Raises:
        UsageError: an unknown scheme, runtime, licence or front, an unreadable budget or time, a target that is not
            emulated.
        BadInput: a file that is not there or cannot be read, a function that its file lacks, a model that needs an
            architecture or the user's trust, or a student that needs data where there are none.
        PlaceLost: what is to be emulated needs a kit that is not there.
    """
    parse_budgets(plan.budget)
    parse_budgets(plan.warn)
    scheme_names(plan.schemes)
    rung_names(plan.rungs)
    parse_seconds(plan.search_time, "--search-time")
    runtime_names(plan.runtimes)
    if plan.time is not None:
        parse_seconds(plan.time)
    if plan.duration is not None:
        parse_duration(plan.duration)
    parse_licences(plan.licence)
    if not plan.judge and (plan.ablate or plan.folds):
        raise UsageError("--ablate and --folds compare with the student trained alone, which --no-judge leaves out")
    student = plan.student or ("auto" if plan.data else "none")
    if plan.prune_steps > 1 and student != "auto":
        raise UsageError(f"--prune-steps is for --student auto, not {student}; leave it out")
    if plan.student_input and student == "none":
        raise UsageError("--student-input is for a student, and none is trained; give --student, or data")
    named = {"model": plan.model, "--classes": plan.classes}
    named |= {f"--{field}": getattr(plan, field) for field in CODE_FIELDS}
    for option, value in named.items():
        path = code_file(value) or (value if option in ("model", "--classes", "--data") else None)
        if path is not None and not Path(path).exists():
            raise BadInput(f"There is no {option} {path}; check the path.")
        _check_function(value)
    if plan.ranges is not None and not Path(plan.ranges).is_file():
        raise BadInput(f"There is no --ranges {plan.ranges}; check the path.")
    if plan.emulate:
        from edgekd.emulated_figures import core_for

        core_for(resolve(plan.target).profile)
    missing = next((path for path in plan.co_teacher if not Path(path).exists()), None)
    if missing is not None:
        raise BadInput(f"There is no --co-teacher {missing}; check the path.")
    if plan.classes is not None:
        read_classes(Path(plan.classes))
    if plan.student not in (None, "none") and plan.data is None and plan.synthesise == 0:
        raise BadInput(f"--student {plan.student} needs data to train on; give --data, or do without --synthesise 0.")
    kind = identify(str(plan.model))
    if importlib.util.find_spec("torch") is not None:  # without torch, a run says that it is missing
        _check_model(kind, plan, out)
        _check_fronts(kind, plan)


def scheme_names(text: str, profile: DeviceProfile | None = None) -> tuple[str, ...]:
    """The schemes that `--schemes a,b` names; fp32, the baseline of all others, always competes.

    "auto" are all but the rungs of the ladder above its first; where there is a profile, all that may run on it.
    """
    if text.strip() != "auto":
        return _scheme_names(text, always=("fp32",))
    return tuple(name for name in SCHEMES if name not in RUNGS[1:] and (profile is None or runs_in(name, profile)))


def rung_names(text: str) -> tuple[str, ...]:
    """The schemes that `--rungs a,b` names, from the cheapest to the dearest; none of them for "none"."""
    named = () if text.strip() == "none" else _scheme_names(text)
    outside = next((name for name in named if name not in RUNGS), None)
    if outside:
        raise UsageError(f"{outside!r} is no rung of the ladder; those are {', '.join(RUNGS)}")
    return tuple(sorted(named, key=RUNGS.index))


def _scheme_names(text: str, *, always: tuple[str, ...] = ()) -> tuple[str, ...]:
    names = tuple(dict.fromkeys([*always, *(part.strip() for part in text.split(",") if part.strip())]))
    unknown = next((name for name in names if parse_scheme(name, SCHEMES) is None), None)
    if unknown:
        raise UsageError(f"There is no scheme {unknown!r}{did_you_mean(unknown, SCHEMES)}")
    return names


def runtime_names(text: str) -> tuple[str, ...]:
    """The runtimes that `--runtimes a,b` names; onnxruntime, in which the baseline runs, always competes."""
    return _names(text, "runtime", RUNTIMES, always="onnxruntime")


def _names(text: str, kind: str, known: Collection[str], *, always: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys([always, *(part.strip() for part in text.split(",") if part.strip())]))
    unknown = next((name for name in names if name not in known), None)
    if unknown:
        raise UsageError(f"There is no {kind} {unknown!r}{did_you_mean(unknown, known)}")
    return names


def _check_function(value: str | None) -> None:
    """Refuse `file.py:function` where the file does not parse or nothing in it can bear that name."""
    path = code_file(value)
    if path is None:
        return
    function = str(value).rpartition(":")[2]
    try:
        nodes = list(ast.walk(ast.parse(path.read_bytes())))
    except (OSError, SyntaxError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else getattr(error, "msg", str(error))
        raise BadInput(f"{path}:{getattr(error, 'lineno', None) or 1}: {reason}; mend the file") from None
    functions = {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    others = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    imported = {
        (alias.asname or alias.name) for node in nodes if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    if function not in functions | others | imported and "*" not in imported:
        raise BadInput(f"{path} has no function {function!r}{did_you_mean(function, functions) if functions else ''}")


def _check_model(kind: FileKind, plan: Recipe, out: Path | None) -> None:
    """Refuse weights without an architecture and files that run code."""
    if kind.kind in ("pickled module", "torchscript") and not plan.trust:
        from edgekd.formats.trusted import refuse_untrusted

        refuse_untrusted(kind, trust=False)
    if kind.kind == "state dict" and plan.arch is None:
        from edgekd.formats.guess_architecture import ANY_FILE, guess_architecture
        from edgekd.formats.state_dict import read_checkpoint

        likely = guess_architecture(read_checkpoint(kind).tensors)
        settings = plan.model_dump(exclude_defaults=True, exclude={"model", "code"}) | {"arch": likely}
        words = ["edgekd", "compress", kind.path, *option_words(settings), *(["--out", str(out)] if out else [])]
        whose = " with your own file" if likely == ANY_FILE else ", most likely so"
        raise BadInput(
            f"{kind.path} holds weights without their program; name the architecture{whose}: {shlex.join(words)}"
        )


def _check_fronts(kind: FileKind, plan: Recipe) -> None:
    """Refuse fronts that cannot be, whatever the data; whether they fit those shows when inputs are settled."""
    if not plan.front and not plan.student_input:
        return
    from edgekd.fronts.table import parse_front
    from edgekd.teachers.front import front_specs

    front_specs(plan, kind.kind)
    for text in plan.student_input:
        parse_front(text)
