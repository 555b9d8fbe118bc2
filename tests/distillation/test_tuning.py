"""The search for settings: what it proposes, gives up and keeps, and that an interruption changes nothing."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from edgekd.distillation import tuning
from edgekd.distillation.contest import Contest, Entry
from edgekd.distillation.tuning import REACH, REPORTS, search_space, tune, tuned
from edgekd.errors import BadInput
from edgekd.losses.table import parse_losses
from edgekd.training.plan import Plan


class Killed(BaseException):
    """Nothing that anybody catches."""


@pytest.fixture
def scoring(monkeypatch, make_entry) -> Callable[..., list[Plan]]:
    """Let a training under a plan score what is said of (the number of the trial, the plan), at every report."""

    def use(score: Callable[[int, Plan], float]) -> list[Plan]:
        plans: list[Plan] = []

        def enter(contest: Contest, name: str, *, taught: bool, plan: Plan, evaluated: Callable) -> Entry:
            assert taught
            plans.append(plan)
            value = score(len(plans) - 1, plan)
            evaluated(0, 0.0)
            for step in range(1, plan.steps + 1):
                if step % plan.evaluate_every == 0 or step == plan.steps:
                    evaluated(step, value)
            return make_entry(name, score=value)

        monkeypatch.setattr(tuning, "enter", enter)
        return plans

    return use


@pytest.fixture
def wide(contest) -> Contest:
    """A plan with a loss of every kind, of steps that fours do not divide."""
    losses = parse_losses(("soft_targets=0.9", "hint=100", "labels=0.1"))
    return replace(contest, plan=contest.plan.model_copy(update={"steps": 150, "losses": losses, "temperature": 3.0}))


def near(rate: float) -> Callable[[int, Plan], float]:
    """The nearer the learning rate, the higher the score."""
    return lambda number, plan: 1 / (1 + abs(plan.learning_rate - rate))


def test_everything_that_is_searched_reaches_around_the_plans_own(wide) -> None:
    space = search_space(wide.plan)
    own = {
        "learning_rate": 0.1,
        "weight_decay": 5e-4,
        "batch_size": 40,
        "temperature": 3.0,
        "weight of soft_targets": 0.9,
        "weight of hint": 100.0,
    }
    assert {name: value for name, (value, _, _) in space.items()} == pytest.approx(own)
    assert all(low <= value <= high for value, low, high in space.values())
    assert space["learning_rate"] == pytest.approx((0.1, 0.1 / REACH, 0.1 * REACH))
    assert tuned(wide.plan, own) == wide.plan


def test_losses_without_a_temperature_have_none_to_search() -> None:
    numbers = Plan(steps=1, losses=parse_losses(("squared_error",)))
    assert "temperature" not in search_space(numbers)
    hint = Plan(steps=1, losses=parse_losses(("hint",)), pairs=(("a", "b"),))
    assert "temperature" not in search_space(hint) and "weight of hint" in search_space(hint)
    unset = Plan(steps=1, losses=parse_losses(("soft_targets",)))
    assert search_space(unset)["temperature"][0] == 4.0  # the loss's own
    weightless = Plan(steps=1, losses=parse_losses(("soft_targets", "correlation=0")))
    assert "weight of correlation" not in search_space(weightless)


@pytest.mark.parametrize("batch_size", [20.0, 33.4, 79.6])
def test_another_batch_size_sees_as_many_samples(wide, batch_size: float) -> None:
    plan = tuned(wide.plan, {"learning_rate": 0.2, "weight_decay": 1e-3, "batch_size": batch_size})
    assert plan.batch_size == round(batch_size)
    assert abs(plan.steps * plan.batch_size - 150 * 40) <= plan.batch_size / 2
    assert abs(plan.evaluate_every * plan.batch_size - 10 * 40) <= plan.batch_size / 2
    assert (plan.learning_rate, plan.weight_decay, plan.temperature) == (0.2, 1e-3, 3.0)
    assert plan.losses == wide.plan.losses


def test_the_best_trial_wins_and_the_first_is_the_plans_own(wide, scoring) -> None:
    plans = scoring(near(0.3))
    found, trials = tune(wide, 8)
    assert [trial.number for trial in trials] == list(range(8))
    assert trials[0].settings == pytest.approx({name: own for name, (own, _, _) in search_space(wide.plan).items()})
    assert [plan.learning_rate for plan in plans] == pytest.approx([t.settings["learning_rate"] for t in trials])
    (best,) = (trial for trial in trials if trial.best)
    finished = [trial for trial in trials if not trial.ended_early]
    assert best.score == max(trial.score for trial in finished) >= trials[0].score
    assert found == tuned(wide.plan, best.settings)
    # A quarter of the training that it is for, in which it is heard four times.
    for plan in plans:
        assert plan.steps * plan.batch_size == pytest.approx(150 * 40 / 4, abs=1.5 * plan.batch_size)
        assert 0 < -(-plan.steps // plan.evaluate_every) <= REPORTS
    assert found.steps * found.batch_size == pytest.approx(150 * 40, abs=found.batch_size)


def test_what_is_hopeless_is_given_up_at_the_first_report(wide, scoring) -> None:
    heard: list[int] = []
    real = tuning.optuna.Trial.report

    def report(self, value: float, step: int) -> None:
        heard.append(self.number)
        real(self, value, step)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tuning.optuna.Trial, "report", report)
        scoring(lambda number, plan: 0.1 if number == 4 else 0.8 + number / 100)
        _, trials = tune(wide, 6)
    assert [trial.ended_early for trial in trials] == [False, False, False, False, True, False]
    assert heard.count(4) == 1 and heard.count(5) > 1
    assert trials[4].score == 0.1 and not trials[4].best and trials[5].best


def test_a_training_that_breaks_off_is_a_trial_without_a_score(wide, scoring) -> None:
    def score(number: int, plan: Plan) -> float:
        if number == 0:
            raise BadInput("training diverged")
        return 0.5

    scoring(score)
    _, trials = tune(wide, 2)
    assert [(trial.score, trial.ended_early, trial.best) for trial in trials] == [
        (None, True, False),
        (0.5, False, True),
    ]


def test_where_every_training_breaks_off_the_search_ends_in_a_sentence(wide, scoring) -> None:
    def score(number: int, plan: Plan) -> float:
        raise BadInput("training diverged")

    scoring(score)
    for _ in range(2):  # and says so again where it is taken up
        with pytest.raises(BadInput, match=r"no trial of --tune .* the first because training diverged"):
            tune(wide, 3)


def test_a_search_follows_from_the_seed(wide, scoring, tmp_path) -> None:
    found = []
    for name, seed in (("one", 0), ("same", 0), ("other", 7)):
        scoring(near(0.3))
        (tmp_path / name).mkdir()
        plan = wide.plan.model_copy(update={"seed": seed})
        found.append(tune(replace(wide, folder=tmp_path / name, plan=plan), 5)[1])
    assert found[0] == found[1]
    assert [trial.settings for trial in found[0]] != [trial.settings for trial in found[2]]
    assert len({tuple(trial.settings.values()) for trial in found[0]}) == 5


@pytest.mark.slow
@pytest.mark.parametrize("stop", [KeyboardInterrupt, Killed])
@pytest.mark.parametrize("trial", [0, 2, 4])
def test_an_interrupted_search_ends_as_an_undisturbed_one(contest, tmp_path, stop, trial) -> None:
    """By Ctrl-C, which optuna hears of, and by a kill, of which it does not, in real trainings."""

    def stopping(tick) -> None:
        seen.add(tick.phase)
        if len(seen) == trial + 1 and tick.done == 2:
            raise stop

    contest = replace(contest, plan=contest.plan.model_copy(update={"steps": 24}))
    (tmp_path / "whole").mkdir()
    whole = tune(replace(contest, folder=tmp_path / "whole"), 6)
    seen: set[str] = set()
    (tmp_path / "cut").mkdir()
    cut = replace(contest, folder=tmp_path / "cut")
    with pytest.raises(stop):
        tune(replace(cut, listen=stopping), 6)
    ticks: list = []
    again = tune(replace(cut, listen=ticks.append), 6)
    assert again == whole
    assert len({tick.phase for tick in ticks}) == 6 - trial  # what was finished is not done again
    assert tune(cut, 6) == whole
    left = [path for name in ("checkpoints", "entries") for path in (tmp_path / "whole" / name).glob("*")]
    assert not left


def test_a_longer_search_goes_on_from_a_shorter(wide, scoring) -> None:
    scoring(near(0.3))
    _, three = tune(wide, 3)
    plans = scoring(near(0.3))
    _, five = tune(wide, 5)
    assert len(plans) == 2
    assert [trial.settings for trial in five[:3]] == [trial.settings for trial in three]


@pytest.mark.parametrize("stop", [KeyboardInterrupt, Killed])
def test_proposals_that_learn_from_earlier_trials_survive_an_interruption(wide, scoring, tmp_path, stop) -> None:
    """From the eleventh trial on, settings are no longer drawn blindly."""

    def stopping(number: int, plan: Plan) -> float:
        if number == 11:
            raise stop
        return near(0.3)(number, plan)

    for name in ("whole", "cut"):
        (tmp_path / name).mkdir()
    scoring(near(0.3))
    whole = tune(replace(wide, folder=tmp_path / "whole"), 13)
    scoring(stopping)
    with pytest.raises(stop):
        tune(replace(wide, folder=tmp_path / "cut"), 13)
    scoring(near(0.3))
    assert tune(replace(wide, folder=tmp_path / "cut"), 13) == whole
