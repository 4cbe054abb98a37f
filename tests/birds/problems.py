"""The check of an RFC 9457 response."""


def check_problem(response, status: int, kind: str) -> str:
    """Check that a response is a problem document of a type; return its detail."""
    assert response.headers["content-type"] == "application/problem+json"
    body = response.json()
    assert (response.status_code, body["status"]) == (status, status)
    assert body["type"] == f"urn:fieldmark:{kind}"
    assert body["title"]
    assert body["detail"].endswith(".")
    return body["detail"]
