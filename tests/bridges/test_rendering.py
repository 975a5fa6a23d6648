"""Templates: nothing but values, never more than an event holds, and every failure is one of the row's own."""

from __future__ import annotations

import pytest

from bridges import limits
from bridges.limits import Bucket
from bridges.render import LONGEST_TEXT, BadTemplate, Template


@pytest.mark.parametrize(
    "text",
    [
        "{{ name.__class__ }}",
        "{{ name.__class__.__mro__ }}",
        "{{ name.upper() }}",
        "{{ ''.join }}",
        "{{ name['format'] }}",
        "{{ '{0.__class__}'.format(name) }}",
        "{{ range(10) }}",
        "{{ old.__init__ }}",
        "{{ nothing }}",
        "{{ data.nothing }}",
        "{% include 'x' %}",
        "{{ cycler('a') }}",
        "{{ name | attr('upper') }}",
    ],
)
def test_nothing_but_values(text: str) -> None:
    with pytest.raises(BadTemplate):
        Template(text).render({"name": "anna", "data": {"a": 1}})


def test_columns_with_the_names_of_methods() -> None:
    assert Template("{{ data.items }} {{ old.keys }}").render({"data": {"items": 1}}, {"keys": 2}) == "1 2"


def test_long_texts_are_cut_and_odd_ones_can_be_said() -> None:
    assert Template("{{ name }}").render({"name": "ї" * 100_000}) == "ї" * LONGEST_TEXT
    endless = "{% for a in many %}{% for b in many %}{% for c in many %}{{ c }}{% endfor %}{% endfor %}{% endfor %}"
    assert len(Template(endless).render({"many": ["x"] * 1_000})) == LONGEST_TEXT
    assert Template("{{ name }}").render({"name": "a\0b\ud83d"}) == "a\ufffdb?"
    html = Template("<b>{{ name }}</b>", html=True)
    assert html.render({"name": "<script>&\"'"}) == "<b>&lt;script&gt;&amp;&#34;&#39;</b>"


async def test_so_many_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    now, slept = 1000.0, list[float]()

    async def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds
        slept.append(round(seconds, 6))

    monkeypatch.setattr(limits.time, "monotonic", lambda: now)
    monkeypatch.setattr(limits.asyncio, "sleep", sleep)
    bucket = Bucket(2)
    for _ in range(5):
        await bucket.take()
    assert slept == [0.5, 0.5, 0.5], "two at once, and then two a second"
    now += 60
    for _ in range(2):
        await bucket.take()
    assert len(slept) == 3
