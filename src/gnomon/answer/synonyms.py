"""Words that tell the same in the news: wages are pay, a vacant place is a free one.

Few and plain on purpose, in four languages: each group holds words that a reporter would put one
for the other without another thought. What only resembles stays with the likeness of meaning.
"""

from __future__ import annotations

from collections.abc import Iterable, Set

from gnomon.answer.words import stem

_GROUPS = tuple(
    frozenset(stem(w) for w in group.split())
    for group in (
        "pay wage wages salary salaries lohn löhne gehalt salaire salaires salario salarios",
        "rise raise increase increases hike erhöhung hausse subida aumento steigen",
        "free vacant available empty spare unoccupied frei freie libre libres",
        "cost costs price prices priced kosten kostet preis coûte prix cuesta precio",
        "strongest highest peak maximum top stärkste höchste",
        "watch watched spectators spectator attendance crowd viewers audience zuschauer "
        "spectateurs espectadores",
        "work works employ employs employed employees workforce staff payroll beschäftigt "
        "mitarbeiter emploie salariés emplea empleados",
        "die died dead deaths killed kill tote toten getötet morts muertos",
        "injured hurt wounded injuries verletzt verletzte blessés heridos",
        "arrested detained festgenommen arrêté detenido",
        "company firm business unternehmen firma entreprise empresa",
        "fire blaze brand feuer incendie incendio",
        "crash collision accident unfall accident accidente",
        "build construction constructed erect bau bauen construire construir",
        "buy bought purchase purchased acquire acquired acquisition kauft gekauft achète compra",
        "resign resigned resignation quit rücktritt zurückgetreten démission dimisión",
        "cancel cancelled canceled scrapped abgesagt annulé cancelado",
        "elect elected election gewählt wahl élu élection elegido elección",
    )
)
_OF = {s: frozenset().union(*(g for g in _GROUPS if s in g)) for g in _GROUPS for s in g}


def others(term: str) -> frozenset[str]:
    """Stems of words that say what `term` says."""
    return _OF.get(term, frozenset())


def same(terms: Iterable[str], held: Set[str]) -> frozenset[str]:
    """Those of `terms` for which `held` has another word; all are stems."""
    return frozenset(t for t in terms if t not in held and others(t) & held)
