"""The findings as a text."""

import textwrap

from graphkd.diagnostics.doctor.finding import Finding

_WIDTH = 88


def report(
    findings: list[Finding],
    steps: int,
    looked: int,
    failed: dict[str, str],
    pulls: dict[str, float],
) -> str:
    """A line on what was looked at, each finding with its remedy, the pulls, checks that failed."""
    seen = f"graphkd's doctor looked at {looked} of {steps} steps"
    if not looked:
        return f"{seen}: none in training with gradients yet."
    lines = [f"{seen} and found {f'{len(findings)} things' if findings else 'nothing'}."]
    if len(findings) == 1:
        lines = [f"{seen} and found one thing."]
    for number, finding in enumerate(findings, 1):
        lines += ["", *_wrapped(f"{number}. {finding.code}: {finding.message}")]
        lines += _wrapped(f"   What to do: {finding.remedy}")
    if pulls:
        listed = ", ".join(f"{term} {pull:.2g}" for term, pull in pulls.items())
        lines += ["", *_wrapped(f"Pulls on the student, the task's being 1: {listed}.")]
    if failed:
        lines += ["", *_wrapped(f"Could not look at everything. {_listed(failed)}")]
    return "\n".join(lines)


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, subsequent_indent="   ", break_on_hyphens=False)


def _listed(failed: dict[str, str]) -> str:
    return " ".join(f"{what}: {error}." for what, error in failed.items())
