"""A limit on how much body a request may send, counted as it arrives."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send


class BodyLimit:
    """Pure ASGI: whoever reads a body of more than `limit` bytes gets a 413 instead, declared length or not."""

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self.app = app
        self.limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        declared = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        size = 0

        async def counted() -> Message:
            nonlocal size
            # Refused before it is read: a client that waits for `100 Continue` never sends it.
            if declared.isdigit() and int(declared) > self.limit:
                raise self._too_large()
            message = await receive()
            size += len(message.get("body", b""))
            if size > self.limit:
                raise self._too_large()
            return message

        await self.app(scope, counted, send)

    def _too_large(self) -> HTTPException:
        # An HTTPException, because FastAPI turns any other error while it reads a body into a 400.
        return HTTPException(413, f"The body is too large: at most {self.limit} bytes are allowed.")
