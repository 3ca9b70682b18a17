"""What an answer says: outputs that may be believed, or an error."""

from fornada import errors
from fornada.calls.frames import AnswerFrame
from fornada.errors import AnswerNotTrustedError, FornadaError
from fornada.trust.deployment_keys import DeploymentKeys


def error_of(answer: AnswerFrame, deployment_keys: DeploymentKeys) -> FornadaError | None:
    """Why an answer has no outputs for its caller; `None` if it has.

    Args:
        answer: The answer.
        deployment_keys: Those of the client.
    """
    distrusted = _distrusted(answer, deployment_keys)
    if distrusted is not None or answer.header.error is None:
        return distrusted
    kind = getattr(errors, answer.header.error, None)
    if not (isinstance(kind, type) and issubclass(kind, FornadaError)):
        kind = FornadaError
    return kind(answer.header.detail or kind.__name__)


def _distrusted(answer: AnswerFrame, deployment_keys: DeploymentKeys) -> FornadaError | None:
    """Why the answer is not believed, if it is not."""
    if answer.seal == "known" or not (deployment_keys or answer.seal == "unknown"):
        return None
    if not deployment_keys:
        fact = "the answer is signed, and this client has no key to verify it with"
    elif answer.header.error == AnswerNotTrustedError.__name__:
        fact = "no key of the workers signed the call"
    else:
        fact = "no key of this client signed the answer"
    return AnswerNotTrustedError(
        f"{fact}; give clients and workers the same FORNADA_DEPLOYMENT_KEYS"
    )
