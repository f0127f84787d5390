"""Optuna's own figures of a study, or one sentence each for those that cannot be drawn."""

from collections.abc import Callable, Iterator
from functools import partial
from html import escape
from typing import TYPE_CHECKING, Any, NamedTuple

import optuna
from optuna import visualization
from optuna.distributions import CategoricalDistribution
from optuna.trial import FrozenTrial, create_trial

from mer.errors import one_line
from mer.search import trials

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


class Drawn(NamedTuple):
    """A figure, or why there is none; `width` is the least that it can be read at, in pixels."""

    title: str
    drawing: "Figure | str"
    width: int = 0


def figures(study: optuna.Study) -> Iterator[Drawn]:
    """Draw a study: the Pareto front of several objectives, then the same figures for each.

    Args:
        study: The study, from `trials.copy`.
    """
    done, names = trials.complete(study), trials.objectives(study)
    keys = trials.parameters(done)
    without = "" if done else "No trial is complete yet."
    without_keys = without or ("" if keys else "The complete trials have no parameters.")
    short, several = _with_short_names(study), len(names) > 1
    if several:
        front = partial(visualization.plot_pareto_front, short, target_names=names)
        yield Drawn("Pareto front", _draw(front, without), 560)
    for place, name in enumerate(names):
        of = f" of {name}" if several else ""
        about: dict[str, Any] = {"target_name": name}
        if several:
            about["target"] = partial(_value, place)
        history = partial(visualization.plot_optimization_history, short, **about)
        yield Drawn(f"Optimization history{of}", _draw(history, without))
        shares = trials.importances(study, place)
        importance = partial(_importances, study, **about)
        problem = shares if isinstance(shares, str) else ""
        height = 150 + 34 * len(keys)
        yield Drawn(f"Parameter importances{of}", _draw(importance, problem, height=height))
        parallel = partial(visualization.plot_parallel_coordinate, short, **about)
        width = 110 * (len(keys) + 1)
        yield Drawn(f"Parallel coordinate{of}", _draw(parallel, without_keys), width)
        slices = partial(visualization.plot_slice, short, **about)
        yield Drawn(f"Slice{of}", _draw(slices, without_keys), 220 * len(keys))
    if not several:
        reported = any(trial.intermediate_values for trial in trials.shown(study))
        silent = "" if reported else "No trial has reported a value after a fold."
        values = partial(visualization.plot_intermediate_values, short)
        axes: dict[str, Any] = {
            "xaxis_title": "finished folds",
            "yaxis_title": f"{names[0]} so far",
        }
        yield Drawn("Intermediate values", _draw(values, silent, **axes))


def _value(place: int, trial: FrozenTrial) -> float:
    return float(trial.values[place])


def _importances(study: optuna.Study, **about: Any) -> "Figure":
    """Optuna's bars; of the study itself, since the order of names has a small part in them."""
    figure = visualization.plot_param_importances(study, trials.evaluator(), **about)
    names = trials.short_names(trials.parameters(trials.shown(study)))
    return figure.for_each_trace(lambda bars: bars.update(y=[names[key] for key in bars.y]))


def _draw(draw: Callable[[], "Figure"], problem: str, height: int = 420, **layout: Any) -> Any:
    """Draw in the style of the page, unless there is a problem; then say which."""
    if problem:
        return problem
    try:
        figure = draw()
    except Exception as error:  # one figure less is no reason to have no page
        return f"Optuna could not draw this: {one_line(error)}"
    return figure.update_layout(
        title=None,
        width=None,
        height=height,
        template="plotly_white",
        margin={"l": 60, "r": 20, "t": 40, "b": 60},
        legend={"orientation": "h", "yanchor": "top", "y": -0.22, "x": 0, "xanchor": "left"},
        **layout,
    )


def _with_short_names(study: optuna.Study) -> optuna.Study:
    """Copy a study with names that fit on an axis, and text that Plotly takes for no markup."""
    names = trials.short_names(trials.parameters(trials.shown(study)))

    def change(trial: FrozenTrial) -> FrozenTrial:
        space = {}
        for key, distribution in trial.distributions.items():
            if isinstance(distribution, CategoricalDistribution):
                distribution = CategoricalDistribution([_plain(c) for c in distribution.choices])
            space[names[key]] = distribution
        return create_trial(
            state=trial.state,
            values=trial.values,
            params={names[key]: _plain(value) for key, value in trial.params.items()},
            distributions=space,
            intermediate_values=trial.intermediate_values,
        )

    return trials.copy(study, change)


def _plain(value: Any) -> Any:
    return escape(value, quote=False) if isinstance(value, str) else value
