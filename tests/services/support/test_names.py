"""Who is a visitor, by the name of the account."""

from __future__ import annotations

from homeserver.services.support.names import bot_id, is_visitor, visitor_id


def test_a_visitor_is_one_of_their_site_and_of_no_other() -> None:
    ada, bo = visitor_id("shop", "ABCdef", "hromada.test"), visitor_id("shop-eu", "ghijkl", "hromada.test")
    assert (ada, bo) == ("@visitor-shop-abcdef:hromada.test", "@visitor-shop-eu-ghijkl:hromada.test")
    assert [is_visitor(ada), is_visitor(ada, "shop"), is_visitor(ada, "shop-eu")] == [True, True, False]
    # A site whose name begins like another's has visitors of its own.
    assert [is_visitor(bo), is_visitor(bo, "shop"), is_visitor(bo, "shop-eu")] == [True, False, True]
    for other in (bot_id("shop", "hromada.test"), "@visitor:hromada.test", "@olena:hromada.test", "@v-shop-a:x", ""):
        assert not is_visitor(other), other
