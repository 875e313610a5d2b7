import unittest

from handler import handle
from heddle import testing


def post(**posted):
    handler = testing.handler(handle, key="{subject.2}", publishes=["parcel.accepted.*"])
    return handler.run(testing.event("parcel.posted.p7", json=posted))


class Intake(unittest.TestCase):
    def test_a_parcel_is_accepted_with_its_zone(self):
        for to, zone in (("Ada", "near"), ("mia", "near"), ("Nils", "far"), ("Äne", "far"), ("7 Lane", "far")):
            accepted = post(parcel="p7", weight_g=31_500, to=to).done().message("parcel.accepted.p7")
            self.assertEqual(accepted.json(), {"parcel": "p7", "weight_g": 31_500, "to": to, "zone": zone})

    def test_a_parcel_has_a_weight_that_can_be_carried(self):
        for weight_g in (0, -1, 31_501):
            reason = post(parcel="p7", weight_g=weight_g, to="Ada").rejected()
            self.assertEqual(reason, f"a parcel weighs from 1 to 31500 g, not {weight_g} g")

    def test_a_parcel_goes_to_somebody(self):
        self.assertEqual(
            post(parcel="p7", weight_g=1, to="").rejected(), "a parcel goes to somebody, but `to` is empty"
        )

    def test_what_is_no_parcel_is_given_up(self):
        self.assertEqual(post(parcel="p7", to="Ada").rejected(), "cannot decode the payload: `weight_g` is missing")
