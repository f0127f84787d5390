"""Audits of runs: what their artefacts prove, what they deny, what they leave open."""

from mer.audit.artefacts import Artefacts
from mer.audit.findings import Check
from mer.audit.verdict import Audit, audit, comparable

__all__ = ["Artefacts", "Audit", "Check", "audit", "comparable"]
