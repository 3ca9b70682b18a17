"""What each endpoint takes, at most; docs/gateway.md states it."""

import re

from gateway.http.body_limits import FORM, JSON, BodyLimit

_KIB, _MIB, _GIB = 1024, 1024**2, 1024**3

#: Of requests that are not listed.
MOST_BYTES = 64 * _KIB
MOST_INLINE_BYTES = 64 * _KIB
#: Of a form; what is larger goes into the store directly.
MOST_FORM_BYTES = 16 * _GIB
#: Forms that are read at a time; others wait.
MOST_FORMS = 8
MOST_FORMS_OF_ONE = 4
_MOST_CALL_BYTES = 16 * _MIB

LIMITS = (
    BodyLimit("POST", re.compile("/v1/jobs"), JSON, MOST_INLINE_BYTES),
    BodyLimit("POST", re.compile("/v1/jobs"), FORM, MOST_FORM_BYTES),
    BodyLimit("POST", re.compile("/v1/uploads"), JSON, 2 * _MIB),
    # Their endpoints say which kinds they take.
    BodyLimit("POST", re.compile("/v1/models/[^/]+/predict"), None, _MOST_CALL_BYTES),
    BodyLimit("POST", re.compile("/v2/.*"), None, _MOST_CALL_BYTES),
    # The console's forms.
    BodyLimit("POST", re.compile("(?!/v[12]/).*"), None, _MOST_CALL_BYTES),
)
