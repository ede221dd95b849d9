"""Who lives in Quillhaven, and the numbers of its stories. Drawn from the seed; all invented."""

from __future__ import annotations

import random
import tomllib
from functools import cache
from importlib.resources import files

from gnomon.testing.world.moments import Number

Cast = dict[str, str | Number]


@cache
def _names() -> dict[str, list[str]]:
    return tomllib.loads((files(__package__) / "names.toml").read_text("utf-8"))


def draw(seed: int) -> Cast:
    """The names and numbers that the stories of this seed use."""
    rng = random.Random(f"cast {seed}")
    names = _names()
    roles = names["roles"]
    firsts, lasts = rng.sample(names["first"], len(roles)), rng.sample(names["last"], len(roles))
    cast: Cast = {}
    for role, first, last in zip(roles, firsts, lasts, strict=True):
        cast[role] = f"{first} {last}"
        cast[f"{role}_last"] = last

    def number(name: str, low: int, high: int, step: int = 1) -> int:
        value = rng.randrange(low, high, step)
        cast[name] = Number(value)
        return value

    seats = 39
    votes_for = number("votes_for", 20, 24)
    cast["votes_against"] = Number(seats - votes_for)
    cast["votes_for_wrong"] = Number(votes_for + 2)
    cast["votes_against_wrong"] = Number(seats - votes_for - 2)
    number("tram_cost", 56, 79)
    number("tram_year", 2031, 2035)
    number("repair_first", 150, 200, 10)
    cast["repair_final"] = Number(int(cast["repair_first"]) + rng.randrange(40, 90, 10))
    number("gust", 104, 127)
    number("attendance", 2_803, 4_190)
    winner = number("votes_mayor", 5_310, 6_420)
    cast["votes_rival"] = Number(winner - rng.randrange(190, 640))
    cast["votes_mayor_provisional"] = Number(winner - rng.randrange(60, 150))
    cast["turnout"] = f"{rng.randrange(58, 66)}.{rng.randrange(1, 10)}"
    whole, tenth = rng.randrange(3, 8), rng.randrange(1, 10)
    cast["profit"], cast["profit_wrong"] = f"{whole}.{tenth}", f"{whole}{tenth}"
    cast["profit_de"] = f"{whole},{tenth}"
    number("turbines", 14, 29)
    cast["fare_old"], cast["fare_new"] = rng.choice(
        (("2.20", "2.50"), ("1.90", "2.10"), ("2.40", "2.70"))
    )
    number("roof_cost", 82, 128, 2)
    number("pupils", 310, 460)
    number("households", 880, 1_390, 10)
    cast["raise"] = f"{rng.randrange(3, 5)}.{rng.randrange(1, 10)}"
    cast["raise_asked"] = f"{rng.randrange(6, 8)}.{rng.randrange(1, 10)}"
    number("evacuated", 26, 38)
    cast["evacuated_wrong"] = Number(int(cast["evacuated"]) + rng.randrange(12, 24))
    number("firefighters", 34, 58)
    number("bicycles", 33, 58)
    number("sentence_months", 14, 23)
    number("embezzled", 61, 98)
    number("lanterns", 1_200, 2_900, 100)
    number("goal_a", 17, 38)
    number("goal_opp", 51, 63)
    number("goal_b", 78, 89)
    number("lot", 31, 97)
    cast["load"], cast["load_de"] = rng.choice(
        (
            ("roof tiles", "Dachziegeln"),
            ("paper rolls", "Papierrollen"),
            ("crates of apples", "Apfelkisten"),
        )
    )
    cast["dog_spot"] = rng.choice(
        ("the old lighthouse", "the cider barn on Fernhill", "the boathouse below the weir")
    )
    cast["cub_name"] = rng.choice(("Mika", "Tindra", "Pippin", "Juniper"))
    cast["cub_other"] = rng.choice(("Bramble", "Saffron", "Echo"))
    cast["outage_cause"] = rng.choice(
        ("a marten in the substation", "a fallen ash tree", "a snapped insulator")
    )
    cast["heron_spot"] = rng.choice(
        ("a hay barn near Dunmarrow", "a scrapyard in Tallow Street", "a garden pond in Hillside")
    )
    return cast
