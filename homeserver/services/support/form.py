"""The form before the chat: whether what was said answers it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from homeserver.core.errors import ErrCode, MatrixError
from homeserver.services.support import texts
from homeserver.services.support.site import Field, Form

_NOTHING: Mapping[str, str] = MappingProxyType({})


def check_form(form: Form, answers: Mapping[str, str], consent: bool, told: Mapping[str, str] = _NOTHING) -> None:
    """Whether all is there that the site asks for; what the site itself has `told` need not be said again.

    Raises MatrixError: MISSING_PARAM, INVALID_PARAM, which name the field.
    """
    if form.consent_url and not consent:
        raise MatrixError(ErrCode.MISSING_PARAM, "The privacy notice has to be agreed to", field="consent")
    for field in form.fields:
        if field.name == "message":
            continue  # it is the first message, not an answer that is kept
        given = answers.get(field.name, "")
        value = texts.mail_of(given) if field.type == "email" else texts.answer_of(given)
        if field.type == "email" and given.strip() and not value:
            raise MatrixError(ErrCode.INVALID_PARAM, f"{field.name} is no e-mail address", field=field.name)
        if field.required and not value and not told.get(field.name):
            raise MatrixError(ErrCode.MISSING_PARAM, f"{field.name} is missing", field=field.name)
        if field.type == "select" and value and value not in field.options:
            raise MatrixError(ErrCode.INVALID_PARAM, f"{field.name} has no such choice", field=field.name)


def extra(fields: tuple[Field, ...]) -> list[str]:
    """The names of those fields whose answers are kept as they are."""
    return [field.name for field in fields if field.name not in ("name", "email", "message")]
