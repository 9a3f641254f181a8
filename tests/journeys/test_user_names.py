"""A user name is one person's for good: given up or not, nobody else is ever taken for them."""

from __future__ import annotations

from tests.support.house import House, Shown


async def test_a_user_name_that_was_given_up_goes_to_nobody_else_and_back_to_its_owner(house: House) -> None:
    owner, other = house.browser(), house.browser()
    await owner.sign_up(user_name="ana")
    await owner.open("/me/details")
    renamed = await owner.press("Save: User name", fill={"v-preferred_username": "anna"})
    assert isinstance(renamed, Shown)
    assert renamed.value("v-preferred_username") == "anna"

    await other.open("/sign-in")
    await other.choose("facebook", "no-email")
    await other.press("decision=continue")
    for name in ("ana", "Ana", "anna"):
        shown = await other.press("decision=create", fill={"preferred_username": name, "v-email": "t@mail.test"})
        assert isinstance(shown, Shown)
        assert "taken" in shown.text, name
    await other.press("decision=create", fill={"preferred_username": "tomas", "v-email": "t@mail.test"})
    await other.open("/me/details")
    refused = await other.press("Save: User name", fill={"v-preferred_username": "ana"})
    assert isinstance(refused, Shown)
    assert (refused.status, refused.response.request.method) == (200, "GET")

    await owner.open("/me/details")
    back = await owner.press("Save: User name", fill={"v-preferred_username": "ana"})
    assert isinstance(back, Shown)
    assert back.value("v-preferred_username") == "ana"
