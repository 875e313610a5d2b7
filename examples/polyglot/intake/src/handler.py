"""Takes parcels in: checks what was posted, and says which zone it goes to."""

from dataclasses import dataclass

from heddle import Event, Reject, publish

HEAVIEST_G = 31_500


@dataclass
class Posted:
    parcel: str
    weight_g: int
    to: str


def handle(event: Event) -> None:
    posted = event.json(Posted)
    if not 1 <= posted.weight_g <= HEAVIEST_G:
        raise Reject(f"a parcel weighs from 1 to {HEAVIEST_G} g, not {posted.weight_g} g")
    if not posted.to:
        raise Reject("a parcel goes to somebody, but `to` is empty")
    accepted = {
        "parcel": posted.parcel,
        "weight_g": posted.weight_g,
        "to": posted.to,
        "zone": zone(posted.to),
    }
    publish(f"parcel.accepted.{event.key}", accepted)


def zone(to: str) -> str:
    """Near is whoever's name begins with a letter up to "m"."""
    return "near" if "a" <= to[0].lower() <= "m" else "far"
