"""One check of an audit: problems with the score, gaps in the evidence, or neither."""

import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from mer.audit.artefacts import Artefacts, Unavailable
from mer.errors import MerError, one_line

Verdict = Literal["pass", "fail", "unknown"]

SHOWN = 3  # ids, folds or problems that a sentence names


@dataclass(frozen=True)
class Check:
    """The outcome of one check.

    Attributes:
        name: What was checked.
        verdict: `unknown` where an artefact is missing.
        evidence: What was found, in a sentence.
        meaning: What a failure means for the score.
        remark: What does not speak against the score and should be known.
    """

    name: str
    verdict: Verdict
    evidence: str
    meaning: str
    remark: str = ""


@dataclass
class Findings:
    """Collects what a check finds.

    Problems speak against the score, gaps leave it open, remarks do neither.
    """

    problems: list[str] = field(default_factory=list)
    gaps: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def add(self, text: str, items: Iterable[str]) -> None:
        """Add a problem with the things that have it, if there are any; `text` has a `{}`."""
        items = sorted(set(map(str, items)))
        if items:
            self.problems.append(f"{text.format(len(items))}: {some(items)}")

    @contextlib.contextmanager
    def attempt(self) -> Iterator[None]:
        """Turn an artefact that cannot be used into a gap, or into a problem if it is damaged."""
        try:
            yield
        except Unavailable as error:
            (self.problems if error.damaged else self.gaps).append(str(error))
        except MerError as error:
            self.problems.append(one_line(error))
        except Exception as error:  # a file of an unforeseen form must not end the audit
            self.gaps.append(f"unexpected content ({type(error).__name__}: {one_line(error)})")


def some(items: Iterable[str], separator: str = ", ") -> str:
    """Name the first few of some things."""
    items = list(items)
    more = f" and {len(items) - SHOWN} more" if len(items) > SHOWN else ""
    return separator.join(items[:SHOWN]) + more


def check(
    name: str, meaning: str
) -> Callable[[Callable[[Artefacts, Findings], str]], Callable[[Artefacts], Check]]:
    """Make a check of a function that fills `Findings` and says what it saw if all is well."""

    def decorate(function: Callable[[Artefacts, Findings], str]) -> Callable[[Artefacts], Check]:
        @functools.wraps(function)
        def run(artefacts: Artefacts) -> Check:
            findings, evidence = Findings(), ""
            with findings.attempt():
                evidence = function(artefacts, findings)
            remark = _sentence(findings.remarks) if findings.remarks else ""
            if findings.problems:
                return Check(name, "fail", _sentence(findings.problems), meaning, remark)
            if findings.gaps:
                return Check(name, "unknown", _sentence(findings.gaps), meaning, remark)
            return Check(name, "pass", evidence, meaning, remark)

        return run

    return decorate


def _sentence(texts: list[str]) -> str:
    return some(list(dict.fromkeys(texts)), "; ") + "."
