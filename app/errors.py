"""What can go wrong for a caller, and how HTTP says it.

    InnerloopError              500  a fault of ours
    ├── BadRequest              400  the request breaks a rule; `field` says where
    ├── Unauthorized            401  no key, or not one of ours
    ├── Forbidden               403  a key that may not do this
    ├── NotFound                404  no such item, no such page
    ├── SnapshotRefused         409  corrupt, partial, of an older format, or none to go back to; the current one stays
    ├── TooLarge                413  more than one request may carry
    ├── Overloaded              429  the queue is full; come back after `retry_after` seconds
    └── Unavailable             503  cannot answer now; nothing is wrong with the request
        ├── NotReady                 still loading, or the engine has died
        └── StoreUnavailable         Redis is away, loading, full or read-only

Every error carries what RFC 9457 needs: `status`, `title`, `type` (a slug), and a message fit for a stranger's eyes.
"""

from __future__ import annotations

from typing import ClassVar


class InnerloopError(Exception):
    """The root. `detail` is sent to the caller: never a trace, never a secret."""

    status: ClassVar[int] = 500
    title: ClassVar[str] = "Something went wrong on our side"
    type: ClassVar[str] = "internal"

    def __init__(self, detail: str = "", *, field: str | None = None, retry_after: float | None = None) -> None:
        """`field` is a path such as `events.3.user_id`; `retry_after` is in seconds."""
        super().__init__(detail or self.title)
        self.detail = detail or self.title
        self.field = field
        self.retry_after = retry_after

    def problem(self) -> dict[str, object]:
        """The body of an application/problem+json answer."""
        body: dict[str, object] = {
            "type": f"urn:innerloop:problem:{self.type}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
        }
        if self.field is not None:
            body["field"] = self.field
        return body


class BadRequest(InnerloopError):
    status = 400
    title = "The request is not valid"
    type = "bad-request"


class Unauthorized(InnerloopError):
    status = 401
    title = "A valid API key is needed"
    type = "unauthorized"


class Forbidden(InnerloopError):
    status = 403
    title = "This key may not do that"
    type = "forbidden"


class NotFound(InnerloopError):
    status = 404
    title = "There is no such thing here"
    type = "not-found"


class SnapshotRefused(InnerloopError):
    status = 409
    title = "The snapshot cannot be served"
    type = "snapshot-refused"


class TooLarge(InnerloopError):
    status = 413
    title = "The request is too large"
    type = "too-large"


class Overloaded(InnerloopError):
    status = 429
    title = "Too many requests are waiting"
    type = "overloaded"

    def __init__(self, detail: str = "", *, retry_after: float = 1.0) -> None:
        super().__init__(detail, retry_after=retry_after)


class Unavailable(InnerloopError):
    status = 503
    title = "The service cannot answer now"
    type = "unavailable"

    def __init__(self, detail: str = "", *, retry_after: float = 1.0) -> None:
        super().__init__(detail, retry_after=retry_after)


class NotReady(Unavailable):
    title = "The service is not ready"
    type = "not-ready"


class StoreUnavailable(Unavailable):
    title = "The event store is unavailable"
    type = "store-unavailable"
