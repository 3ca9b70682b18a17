"""Events of a gateway."""

from typing import Literal

from fornada.events import Event


class RequestAnswered(Event):
    """A request over HTTP was answered."""

    #: The template of its path; `other` where there is no such route.
    route: str
    status: int
    #: Until all of the answer was sent; `None` of a stream of events, which lasts as a job does.
    duration_s: float | None


class WebhookCalled(Event):
    """A webhook was called, or could not be."""

    result: Literal["delivered", "retrying", "given_up", "gone"]
