"""Words that tell the same in the news: wages are pay, a vacant place is a free one.

Few and plain on purpose, in a few languages: each group holds words that a reporter would put one
for the other without another thought. What only resembles stays with the likeness of meaning.
"""

# ruff: noqa: E501 - a group of words reads best as one line

from __future__ import annotations

from collections.abc import Iterable, Set

from gnomon.answer.words import stem

_WORDS = tuple(
    tuple(group.split())
    for group in (
        "pay wage wages salary salaries lohn löhne gehalt salaire salaires salario salarios",
        "rise raise increase increases hike erhöhung hausse subida aumento steigen",
        "free vacant available empty spare unoccupied frei freie libre libres",
        "cost costs price prices priced kosten kostet preis coûte prix cuesta precio",
        "strongest highest peak maximum top stärkste höchste",
        "watch watched vio vieron sahen besucher público spectators spectator attendance crowd viewers audience zuschauer "
        "spectateurs espectadores",
        "work works arbeiten arbeitet trabajan trabaja travaillent employ employs employed employees workforce staff payroll beschäftigt "
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
        "mayor bürgermeister bürgermeisterin oberbürgermeister maire alcalde alcaldesa prefeito prefeita "
        "мэр عمدة महापौर 市長 市长",
        "minister ministre ministro ministra министр 大臣 部长",
        "president präsident präsidentin président presidente presidenta президент 大統領 总统",
        "government regierung gouvernement gobierno governo правительство 政府",
        "council councillors concejales ratsmitglieder gemeinderat stadtrat rat conseil concejo ayuntamiento câmara",
        "vote votes voted votaron votos stimmen stimmten abgestimmt abstimmung vote votación votación votação",
        "ferry ferries crossing boat fähre fähren bac transbordador ferri balsa паром フェリー 渡轮",
        "bridge brücke pont puente ponte мост",
        "train trains zug züge bahn tren trem поезд 列車 火车",
        "strike strikes striking streikt streik streiken grève huelga greve забастовка",
        "storm sturm tempête tormenta temporal tempestade шторм буря",
        "warning warnings alert warnstufe warnung sturmwarnung alerte alerta aviso предупреждение",
        "flood flooding hochwasser überschwemmung inondation inundación inundação наводнение",
        "earthquake quake erdbeben séisme terremoto землетрясение 地震",
        "school schools schule schulen école escuela escola школа 学校",
        "hospital krankenhaus klinik hôpital больница 病院 医院",
        "library bibliothek bücherei bibliothèque biblioteca библиотека",
        "museum musée museo museu музей",
        "police polizei policía polícia полиция 警察",
        "road street straße strasse rue route calle carretera rua estrada",
        "war krieg guerre guerra война 戦争 战争",
        "profit earn earned earns earnings gewinn verdient bénéfice beneficio lucro прибыль",
        "person people persons menschen leute gente personas gens",
        "project proposal plan plans vorhaben proyecto propuesta projet projeto",
        "repair repairs repaired reparatur instandsetzung reparación réparation",
        "tram trams tramway straßenbahn tranvía",
        "refuse garbage rubbish waste müll müllabfuhr basura ordures",
        "roundabout kreisel kreisverkehr rotonda",
        "exhibition exhibit ausstellung exposición exposition",
        "lifeboat rettungsboot salvavidas",
        "match game spiel pokalspiel partido jeu jogo",
        "report reported announce announced meldete meldet gemeldet anunció informó annoncé",
        "rumour rumor gerücht rumeur boato",
        "money geld dinero argent dinheiro",
        "rent miete alquiler loyer",
        "reason cause grund ursache raison causa motivo причина",
        "elect elected election gewählt wahl élu élection elegido elección",
    )
)
_GROUPS = tuple(frozenset(map(stem, group)) for group in _WORDS)
_OF = {s: frozenset().union(*(g for g in _GROUPS if s in g)) for g in _GROUPS for s in g}


def others(term: str) -> frozenset[str]:
    """Stems of words that say what `term` says."""
    return _OF.get(term, frozenset())


def same(terms: Iterable[str], held: Set[str]) -> frozenset[str]:
    """Those of `terms` for which `held` has another word; all are stems."""
    return frozenset(t for t in terms if t not in held and others(t) & held)


OFFICES = others(stem("mayor")) | others(stem("minister")) | others(stem("president"))
"""Words for offices that one person holds, as stems."""


def in_other_words(terms: Iterable[str]) -> list[str]:
    """The words that tell the same as these stems, as they are written."""
    asked = set(terms)
    return [w for group in _WORDS if asked & set(map(stem, group)) for w in group]
