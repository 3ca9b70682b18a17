"""Requests for what the API does not have: another path, or another method of one."""

from collections.abc import Callable
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import Response

from gateway.http.operations import Operations
from gateway.http.problems import problem_response

#: Answers with `(request, status, what is wrong)`.
Refuse = Callable[[Request, HTTPStatus, str], Response]


def nowhere(refuse: Refuse) -> Callable[[Request], Response]:
    """The endpoint of all paths that no other has."""

    def answer(request: Request) -> Response:
        operations: Operations = request.app.state.operations
        method, path = request.method, request.url.path
        methods = operations.methods(path)
        if not methods:
            return refuse(request, HTTPStatus.NOT_FOUND, f"there is no {path}; see /docs")
        has = f"{path} has {', '.join(methods)}, and no {method}"
        refusal = refuse(request, HTTPStatus.METHOD_NOT_ALLOWED, has)
        refusal.headers["Allow"] = ", ".join(methods)
        return refusal

    return answer


def as_problem(request: Request, status: HTTPStatus, detail: str) -> Response:
    """A refusal as a problem document."""
    code = status.phrase.replace(" ", "")
    return problem_response(request, status=status, code=code, detail=detail)
