"""Plots of a study, or one sentence each for those that cannot be drawn."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import optuna
from matplotlib.ticker import Locator, LogLocator, MaxNLocator
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState

from mer.config.short_names import short_names
from mer.pages.plots import COLOURS, GREY, Plot, axes, styled
from mer.search import trials


class Chapter(NamedTuple):
    """Plots that belong together, and the reasons why others are not there."""

    title: str
    plots: list[Plot]
    missing: list[str]


def chapters(study: optuna.Study) -> Iterator[Chapter]:
    """Draw a study: the Pareto front of two objectives, then the same plots for each objective.

    Args:
        study: The study, from `trials.copy`.
    """
    done, names = trials.complete(study), trials.objectives(study)
    nothing = [] if done else ["No trial is complete yet."]
    if len(names) == 2:
        front = [_front(trials.best(study), done, names, trials.default(study))] if done else []
        yield Chapter("One objective against the other", front, nothing)
    for place, name in enumerate(names):
        plots, missing = [_history(study, place, name)] if done else [], nothing
        if len(names) == 1:
            reported = [trial for trial in trials.shown(study) if trial.intermediate_values]
            plots += [_running(reported, name)] if reported else []
        shares = trials.importances(study, place)
        if isinstance(shares, str):
            missing = [*missing, shares]
        else:
            plots.append(_importance(shares, name))
        yield Chapter(f"Course of {name}", plots, missing)
        space = trials.space(done)
        short = short_names(list(space))
        slices = [_slice(done, key, short[key], space[key], place, name) for key in space]
        yield Chapter(f"{name} by parameter", slices, nothing)


@styled
def _history(study: optuna.Study, place: int, name: str) -> Plot:
    """Every complete trial, and the best so far."""
    done = sorted(trials.complete(study), key=lambda trial: trial.number)
    numbers = [trial.number for trial in done]
    values = np.array([trial.values[place] for trial in done])
    maximise = trials.directions(study)[place] == "maximize"
    best = (np.maximum if maximise else np.minimum).accumulate(values)
    figure, (ax,) = axes(2.6)
    ax.step(numbers, best, where="post", color=COLOURS[1], lw=1.4, label="best so far")
    ax.scatter(numbers, values, s=16, color=COLOURS[0], lw=0, zorder=3, label="trial")
    default = trials.default(study)
    if default is not None and default.state == TrialState.COMPLETE:
        ax.axhline(default.values[place], color=GREY, lw=1, ls="--", label="default setting")
    ax.set(xlabel="trial", ylabel=name)
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.legend(loc="best")
    words = f"{name} of {len(done)} complete trials; the best so far ends at {best[-1]:.4g}"
    return Plot(f"history-{name}", figure, words)


@styled
def _importance(shares: dict[str, float], name: str) -> Plot:
    figure, (ax,) = axes(0.8 + 0.28 * len(shares))
    short = short_names(list(shares))
    ax.barh([short[key] for key in shares], list(shares.values()), color=COLOURS[0], height=0.7)
    ax.invert_yaxis()
    ax.set(xlabel="share of the variance", xlim=(0, 1))
    words = ", ".join(f"{key} {share:.2f}" for key, share in shares.items())
    return Plot(f"importance-{name}", figure, f"Importance of the parameters for {name}: {words}")


@styled
def _slice(
    done: Sequence[FrozenTrial],
    key: str,
    short: str,
    distribution: BaseDistribution,
    place: int,
    name: str,
) -> Plot:
    """One parameter against one objective, a dot for each complete trial that sets it."""
    chosen = [trial for trial in done if key in trial.params]
    values = [trial.values[place] for trial in chosen]
    figure, (ax,) = axes(2.4, 2.9)
    if isinstance(distribution, CategoricalDistribution):
        choices = _in_order([str(choice) for choice in distribution.choices])
        at = [choices.index(str(trial.params[key])) for trial in chosen]
        ax.set_xticks(range(len(choices)), choices, fontsize=8)
        if sum(map(len, choices)) > 24:
            ax.tick_params("x", rotation=25)
            for label in ax.get_xticklabels():
                label.set(ha="right", rotation_mode="anchor")
        ax.set_xlim(-0.5, len(choices) - 0.5)
    else:
        at = [trial.params[key] for trial in chosen]
        low, high = distribution.low, distribution.high  # type: ignore[attr-defined]
        if distribution.log:  # type: ignore[attr-defined]
            ax.set_xscale("log")
            ax.xaxis.set_major_locator(_log_ticks(high / low))
            ax.xaxis.set_major_formatter("{x:g}")
            ax.xaxis.set_minor_formatter("")
        ax.update_datalim([(low, values[0]), (high, values[0])])  # all that was searched
    ax.scatter(at, values, s=16, color=COLOURS[0], lw=0, alpha=0.8)
    ax.set(xlabel=short, ylabel=name)
    words = f"{name} against {key}, {len(chosen)} complete trials"
    return Plot(f"slice-{key}-{name}", figure, words)


def _log_ticks(ratio: float) -> Locator:
    """At least two ticks on a log axis whose ends have this ratio, and not too many."""
    if ratio < 5:
        return MaxNLocator(4)
    return LogLocator(subs=(1, 2, 5) if ratio < 20 else (1, 3) if ratio < 100 else (1,))


@styled
def _front(
    best: Sequence[FrozenTrial],
    done: Sequence[FrozenTrial],
    names: Sequence[str],
    default: FrozenTrial | None,
) -> Plot:
    """Two objectives against each other; the trials of the Pareto front stand out."""
    figure, (ax,) = axes(3.0)
    ax.scatter(*zip(*(trial.values for trial in done), strict=True), s=16, color=GREY, lw=0)
    front = sorted(tuple(trial.values) for trial in best)
    ax.plot(*zip(*front, strict=True), color=COLOURS[1], marker="o", ms=5, lw=1)
    for trial in best:
        ax.annotate(str(trial.number), trial.values, (4, 4), textcoords="offset points", fontsize=8)
    if default is not None and default in done:
        ax.scatter(*default.values, marker="D", s=36, color=COLOURS[4], label="default setting")
        ax.legend(loc="best")
    ax.set(xlabel=names[0], ylabel=names[1])
    points = ", ".join(f"trial {t.number} ({t.values[0]:.4g}, {t.values[1]:.4g})" for t in best)
    return Plot("front", figure, f"Pareto front of {names[0]} and {names[1]}: {points}")


@styled
def _running(reported: Sequence[FrozenTrial], name: str) -> Plot:
    """The score so far of each trial after each fold."""
    figure, (ax,) = axes(2.6)
    for trial in reported:
        folds, values = zip(*sorted(trial.intermediate_values.items()), strict=True)
        colour = COLOURS[4 if trial.state == TrialState.PRUNED else 0]
        ax.plot(folds, values, marker=".", ms=4, lw=1, alpha=0.7, color=colour)
    ax.set(xlabel="finished folds", ylabel=f"{name} so far")
    ax.xaxis.get_major_locator().set_params(integer=True)
    words = f"{name} after each fold of {len(reported)} trials"
    pruned = any(trial.state == TrialState.PRUNED for trial in reported)
    return Plot("running", figure, words, "Trials that were pruned are orange." * pruned)


def _in_order(choices: list[str]) -> list[str]:
    """Numbers by their size, anything else as it was typed."""
    try:
        return sorted(choices, key=float)
    except ValueError:
        return choices
