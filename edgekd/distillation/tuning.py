"""A search for better training settings by short trainings, on validation alone; what is not promising ends early."""

import logging
import math
import shutil
from collections.abc import Iterator
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from edgekd.distillation.contest import Contest, enter
from edgekd.errors import BadInput
from edgekd.judgement import TuningTrial
from edgekd.losses.table import LABELS, OUTPUT_LOSSES
from edgekd.training.plan import Plan

log = logging.getLogger(__name__)
optuna.logging.set_verbosity(optuna.logging.WARNING)

TRIAL_SHARE = 0.25
"""Length of a trial against the training that it is for."""
REPORTS = 4
"""Evaluations of a trial; after each it may be given up."""
STARTUP_TRIALS = 4
BROKE_OFF = "broke off"
DONE = (TrialState.COMPLETE, TrialState.PRUNED)
WEIGHT_DECAYS = (1e-5, 1e-2)
TEMPERATURES = (1.0, 8.0)
REACH = 10.0
"""Learning rate and loss weights are searched up to this factor above and below the plan's own."""


def tune(contest: Contest, trials: int) -> tuple[Plan, tuple[TuningTrial, ...]]:
    """Return the plan with the settings that scored best on validation in `trials` short trainings, and all of them.

    The first trial has the plan's own settings, so what comes out is never worse by this measure. Trials are kept in
    the contest's folder, so an interrupted search does the trial anew in which it stopped, and proposes what it would
    have.

    Raises BadInput where no trial could be trained to its end.
    """
    storage = JournalStorage(JournalFileBackend(str(contest.folder / "tuning.log")))
    pruner = optuna.pruners.MedianPruner(n_startup_trials=STARTUP_TRIALS)
    study = optuna.create_study(
        storage=storage, study_name="tuning", direction="maximize", pruner=pruner, load_if_exists=True
    )
    for left in study.get_trials(states=(TrialState.RUNNING,)):
        study.tell(left.number, state=TrialState.FAIL)
    if not study.get_trials(states=(*DONE, TrialState.WAITING)):
        study.enqueue_trial({name: value for name, (value, _, _) in search_space(contest.plan).items()})
    while (done := len(study.get_trials(states=DONE))) < trials:
        # A sampler of its own for each trial: what it proposes depends on the trials before, not on interruptions.
        study.sampler = optuna.samplers.TPESampler(seed=contest.plan.seed + done)
        study.optimize(lambda trial: _score(contest, trial), n_trials=1)
    records = tuple(_records(study))
    best = next(record for record in records if record.best)
    log.info("tuning: trial %d of %d scored best, %.4f: %s", best.number, trials, best.score, _shown(best.settings))
    return tuned(contest.plan, best.settings), records


def search_space(plan: Plan) -> dict[str, tuple[float, float, float]]:
    """Return what is searched, by name: (the plan's own value, lowest, highest), all on a logarithmic scale."""
    space = {
        "learning_rate": (plan.learning_rate, plan.learning_rate / REACH, plan.learning_rate * REACH),
        "weight_decay": (min(max(plan.weight_decay, WEIGHT_DECAYS[0]), WEIGHT_DECAYS[1]), *WEIGHT_DECAYS),
        "batch_size": (plan.batch_size, plan.batch_size / 2, plan.batch_size * 2),
    }
    softened = [OUTPUT_LOSSES[loss.name].temperature for loss in plan.losses if loss.name in OUTPUT_LOSSES]
    if softened and plan.losses[0].name != "squared_error":
        space["temperature"] = (
            min(max(plan.temperature or softened[0], TEMPERATURES[0]), TEMPERATURES[1]),
            *TEMPERATURES,
        )
    for loss in plan.losses:
        if loss.name != LABELS and loss.weight:
            space[f"weight of {loss.name}"] = (loss.weight, loss.weight / REACH, loss.weight * REACH)
    return space


def tuned(plan: Plan, settings: dict[str, float]) -> Plan:
    """Return the plan with these settings; another batch size gets as many steps as see the same number of samples."""
    batch_size = max(1, round(settings["batch_size"]))
    losses = tuple(
        loss.model_copy(update={"weight": settings.get(f"weight of {loss.name}", loss.weight)}) for loss in plan.losses
    )
    scale = plan.batch_size / batch_size
    changed: dict[str, Any] = {
        "learning_rate": settings["learning_rate"],
        "weight_decay": settings["weight_decay"],
        "temperature": settings.get("temperature", plan.temperature),
        "batch_size": batch_size,
        "losses": losses,
        "steps": max(1, round(plan.steps * scale)),
        "evaluate_every": max(1, round(plan.evaluate_every * scale)),
    }
    return plan.model_copy(update=changed)


def _score(contest: Contest, trial: optuna.Trial) -> float:
    settings = {
        name: trial.suggest_float(name, low, high, log=True)
        for name, (_, low, high) in search_space(contest.plan).items()
    }
    plan = tuned(contest.plan, settings)
    steps = max(REPORTS, round(TRIAL_SHARE * plan.steps))
    short = plan.model_copy(update={"steps": steps, "evaluate_every": math.ceil(steps / REPORTS)})

    def evaluated(step: int, score: float) -> None:
        if step:
            # Numbered, since steps of batches of another size would never be the same, and never be compared.
            trial.report(score, math.ceil(step / short.evaluate_every))
            if trial.should_prune():
                raise optuna.TrialPruned

    name = f"trial-{trial.number}"
    try:
        return enter(contest, name, taught=True, plan=short, evaluated=evaluated).trained.score
    except BadInput as error:
        log.info("tuning: %s broke off: %s", name, error)
        trial.set_user_attr(BROKE_OFF, str(error))
        raise optuna.TrialPruned from None
    finally:
        (contest.folder / "entries" / f"{name}.safetensors").unlink(missing_ok=True)
        shutil.rmtree(contest.folder / "checkpoints" / name, ignore_errors=True)


def _records(study: optuna.Study) -> Iterator[TuningTrial]:
    """Of trials that were done to their end or given up, by their place among these."""
    done = study.get_trials(states=DONE)
    if all(trial.state is TrialState.PRUNED for trial in done):
        why = done[0].user_attrs[BROKE_OFF]
        raise BadInput(f"no trial of --tune could be trained to its end, the first because {why}")
    best = study.best_trial.number
    for number, trial in enumerate(done):
        ended_early = trial.state is TrialState.PRUNED
        yield TuningTrial(
            number=number,
            settings=trial.params,
            score=max(trial.intermediate_values.values(), default=None) if ended_early else trial.value,
            ended_early=ended_early,
            best=trial.number == best,
        )


def _shown(settings: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.3g}" for name, value in settings.items())
