"""From a plan to its advisor: what the model is told of the study, where it is asked, and with which key.

The key goes from the environment into the endpoint and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable

from optimize.advice.advisor import Advisor
from optimize.advice.endpoint import Endpoint
from optimize.advice.prompt import Brief
from optimize.plan import Plan
from optimize.settings import advisor_key


def open_advisor(plan: Plan, say: Callable[[str], None]) -> Advisor | None:
    """The plan's advisor, None if it has none. Nothing is asked yet."""
    settings = plan.settings
    if not settings.advisor:
        return None
    endpoint = Endpoint(settings.advisor_url, settings.advisor, advisor_key())
    say(f"advice: {settings.advisor_share:.0%} of the proposals come from {endpoint}, as far as they are of use")
    return Advisor(brief_of(plan), endpoint, settings.advisor_share, say)


def brief_of(plan: Plan) -> Brief:
    """What every question of this study begins with."""
    space = plan.space
    ruled = sorted({name for rule in space.rules for name in rule.expression.names} - set(space.names))
    constants = {name: plan.constants[name] for name in ruled}
    return Brief(plan.workload.metric, space, plan.baseline, constants, plan.workload.comments(space.names))
