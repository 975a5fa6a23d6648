"""Letters that nobody waits for."""

from __future__ import annotations

import asyncio

import pytest

from homeserver.core.errors import LimitExceeded
from homeserver.ports.mail import Letter, Mailer, MailFailed
from homeserver.services.accounts.letterbox import Letterbox

LETTER = Letter("a@b", "subject", "text", "html")


class Moody(Mailer):
    """A mail server that refuses so many letters, then keeps who asks waiting until it is told."""

    def __init__(self, refused: int = 0) -> None:
        self.refused = refused
        self.asked = 0
        self.sent = asyncio.Queue[Letter]()
        self.open = asyncio.Event()

    async def send(self, letter: Letter) -> None:
        self.asked += 1
        if self.asked <= self.refused:
            raise MailFailed("451 later")
        await self.open.wait()
        self.sent.put_nowait(letter)


async def test_a_refused_letter_is_sent_again_and_not_for_ever() -> None:
    mailer = Moody(2)
    mailer.open.set()
    box = Letterbox(lambda: mailer, waits_s=(0, 0))
    box.put(lambda: LETTER)
    assert await mailer.sent.get() == LETTER
    stubborn = Moody(3)
    box = Letterbox(lambda: stubborn, waits_s=(0, 0))
    box.put(lambda: LETTER)
    while box.waiting:
        await asyncio.sleep(0)
    assert stubborn.asked == 3 and stubborn.sent.empty()


async def test_few_letters_wait() -> None:
    mailer = Moody()
    box = Letterbox(lambda: mailer, at_once=1, most=2)
    for _ in range(2):
        box.require_room()
        box.put(lambda: LETTER)
    with pytest.raises(LimitExceeded):
        box.require_room()
    mailer.open.set()
    for _ in range(2):
        await mailer.sent.get()
    while box.waiting:
        await asyncio.sleep(0)
    box.require_room()


async def test_the_end_waits_for_no_letter() -> None:
    mailer = Moody()
    box = Letterbox(lambda: mailer)
    box.put(lambda: LETTER)
    await box.close()
    assert mailer.sent.empty() and not box.waiting
