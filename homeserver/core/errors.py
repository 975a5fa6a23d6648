"""The one error of the server: a Matrix error code with a message.

Raised anywhere, mapped to HTTP in `homeserver.web` only. Anything else that escapes a handler is a bug and
becomes 500 `M_UNKNOWN` with a logged request id.
spec: client-server-api#standard-error-response
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any


class ErrCode(StrEnum):
    """Error codes of the specification that this server uses.  spec: client-server-api#standard-error-response"""

    ALIAS_IN_USE = "M_ROOM_IN_USE"
    APPSERVICE_LOGIN_UNSUPPORTED = "M_APPSERVICE_LOGIN_UNSUPPORTED"
    BAD_ALIAS = "M_BAD_ALIAS"
    BAD_JSON = "M_BAD_JSON"
    BAD_STATE = "M_BAD_STATE"
    BAD_STATUS = "M_BAD_STATUS"
    CANNOT_LEAVE_SERVER_NOTICE_ROOM = "M_CANNOT_LEAVE_SERVER_NOTICE_ROOM"
    CANNOT_OVERWRITE_MEDIA = "M_CANNOT_OVERWRITE_MEDIA"
    CONNECTION_FAILED = "M_CONNECTION_FAILED"
    CONNECTION_TIMEOUT = "M_CONNECTION_TIMEOUT"
    DUPLICATE_ANNOTATION = "M_DUPLICATE_ANNOTATION"
    EXCLUSIVE = "M_EXCLUSIVE"
    FORBIDDEN = "M_FORBIDDEN"
    GUEST_ACCESS_FORBIDDEN = "M_GUEST_ACCESS_FORBIDDEN"
    INCOMPATIBLE_ROOM_VERSION = "M_INCOMPATIBLE_ROOM_VERSION"
    INVALID_PARAM = "M_INVALID_PARAM"
    INVALID_ROOM_STATE = "M_INVALID_ROOM_STATE"
    INVALID_SIGNATURE = "M_INVALID_SIGNATURE"
    INVALID_USERNAME = "M_INVALID_USERNAME"
    INVITE_BLOCKED = "M_INVITE_BLOCKED"
    KEY_TOO_LARGE = "M_KEY_TOO_LARGE"
    LIMIT_EXCEEDED = "M_LIMIT_EXCEEDED"
    MISSING_PARAM = "M_MISSING_PARAM"
    MISSING_TOKEN = "M_MISSING_TOKEN"
    NOT_FOUND = "M_NOT_FOUND"
    NOT_JSON = "M_NOT_JSON"
    NOT_YET_UPLOADED = "M_NOT_YET_UPLOADED"
    PROFILE_TOO_LARGE = "M_PROFILE_TOO_LARGE"
    RESOURCE_LIMIT_EXCEEDED = "M_RESOURCE_LIMIT_EXCEEDED"
    THREEPID_AUTH_FAILED = "M_THREEPID_AUTH_FAILED"
    THREEPID_DENIED = "M_THREEPID_DENIED"
    THREEPID_IN_USE = "M_THREEPID_IN_USE"
    THREEPID_MEDIUM_NOT_SUPPORTED = "M_THREEPID_MEDIUM_NOT_SUPPORTED"
    TOO_LARGE = "M_TOO_LARGE"
    UNABLE_TO_AUTHORISE_JOIN = "M_UNABLE_TO_AUTHORISE_JOIN"
    UNABLE_TO_GRANT_JOIN = "M_UNABLE_TO_GRANT_JOIN"
    UNAUTHORIZED = "M_UNAUTHORIZED"
    UNKNOWN = "M_UNKNOWN"
    UNKNOWN_DEVICE = "M_UNKNOWN_DEVICE"
    UNKNOWN_POS = "M_UNKNOWN_POS"
    UNKNOWN_TOKEN = "M_UNKNOWN_TOKEN"
    UNRECOGNIZED = "M_UNRECOGNIZED"
    UNSUPPORTED_ROOM_VERSION = "M_UNSUPPORTED_ROOM_VERSION"
    URL_NOT_SET = "M_URL_NOT_SET"
    USER_DEACTIVATED = "M_USER_DEACTIVATED"
    USER_IN_USE = "M_USER_IN_USE"
    USER_LIMIT_EXCEEDED = "M_USER_LIMIT_EXCEEDED"
    USER_LOCKED = "M_USER_LOCKED"
    USER_SUSPENDED = "M_USER_SUSPENDED"
    WEAK_PASSWORD = "M_WEAK_PASSWORD"
    WRONG_ROOM_KEYS_VERSION = "M_WRONG_ROOM_KEYS_VERSION"


_STATUS: dict[ErrCode, int] = {
    ErrCode.EXCLUSIVE: 400,
    ErrCode.FORBIDDEN: 403,
    ErrCode.GUEST_ACCESS_FORBIDDEN: 403,
    ErrCode.CANNOT_LEAVE_SERVER_NOTICE_ROOM: 403,
    ErrCode.INVITE_BLOCKED: 403,
    ErrCode.LIMIT_EXCEEDED: 429,
    ErrCode.MISSING_TOKEN: 401,
    ErrCode.CANNOT_OVERWRITE_MEDIA: 409,
    ErrCode.NOT_FOUND: 404,
    ErrCode.NOT_YET_UPLOADED: 504,
    ErrCode.RESOURCE_LIMIT_EXCEEDED: 403,
    ErrCode.THREEPID_AUTH_FAILED: 403,
    ErrCode.THREEPID_DENIED: 403,
    ErrCode.TOO_LARGE: 413,
    ErrCode.UNAUTHORIZED: 401,
    ErrCode.UNKNOWN_TOKEN: 401,
    ErrCode.UNRECOGNIZED: 404,
    ErrCode.USER_DEACTIVATED: 403,
    ErrCode.USER_LIMIT_EXCEEDED: 403,
    ErrCode.USER_LOCKED: 401,
    ErrCode.USER_SUSPENDED: 403,
    ErrCode.WRONG_ROOM_KEYS_VERSION: 403,
}


class MatrixError(Exception):
    """An answer of the protocol: `errcode`, a sentence for people, and extra members of the JSON body.

    `status` is the HTTP status; where the specification gives a code two statuses, the raiser passes one.
    """

    def __init__(self, code: ErrCode, message: str, *, status: int | None = None, **extra: Any) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status if status is not None else _STATUS.get(code, 400)
        self.extra = extra

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"

    def body(self) -> dict[str, Any]:
        """The JSON body of the error response."""
        return {"errcode": str(self.code), "error": self.message, **self.extra}


class NotAllowed(MatrixError):
    """An event that the authorisation rules reject. A client sees 403 `M_FORBIDDEN`; federation sees a verdict."""

    def __init__(self, message: str) -> None:
        super().__init__(ErrCode.FORBIDDEN, message)


class BadEvent(MatrixError):
    """An event that is not well-formed for its room version (types, sizes, identifiers)."""

    def __init__(self, message: str, code: ErrCode = ErrCode.BAD_JSON) -> None:
        super().__init__(code, message)


class LimitExceeded(MatrixError):
    """Too many requests. `retry_after_ms` goes into the body and, in seconds, into `Retry-After`."""

    def __init__(self, retry_after_ms: int, message: str = "Too many requests") -> None:
        super().__init__(ErrCode.LIMIT_EXCEEDED, message, retry_after_ms=retry_after_ms)
        self.retry_after_ms = retry_after_ms
