"""From a template (specs with domains in them) and picks to a spec without choices, and back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields
from typing import Any, NamedTuple

from .domains import Domain, Repeat, Shared, Tied
from .errors import SpaceError
from .network import below
from .spec import Spec

Assignment = dict[str, int]
"""For every active site, the index of the chosen option in the site's domain."""

PickIndex = Callable[[str, Domain], int]


class Place(NamedTuple):
    """Where a value stands.

    `path` names the site there; `star` is the same with the position in a repeated field left open; `position` is where
    the value stands in the architecture, which does not tell what was chosen on the way. `shared` says that the value
    belongs to a shared or tied choice, so that other places hold the same.
    """

    path: str = ""
    star: str = ""
    position: str = ""
    shared: bool = False

    def field(self, name: str) -> Place:
        """The place of a field of the spec here."""
        return Place(below(self.path, name), below(self.star, name), below(self.position, name), self.shared)

    def item(self, index: int, repeated: bool) -> Place:
        """The place of an item of the tuple here."""
        star = f"{self.path}[*]" if repeated else f"{self.star}[{index}]"
        return Place(f"{self.path}[{index}]", star, f"{self.position}[{index}]", self.shared)

    def option(self, domain: Domain, index: int) -> Place:
        """The place of the fields of a chosen spec: its class is part of the name when there was another to choose."""
        if len(domain.options) > 1 and isinstance(domain.options[index], Spec):
            label = str(domain.labels[index])
            return Place(below(self.path, label), below(self.star, label), self.position, self.shared)
        return self


def site_of(domain: Domain, place: Place) -> tuple[Domain, Place]:
    """The domain to choose from, and the place whose path names the site.

    `shared(spec)` has nothing to choose itself: its domain has the one option.
    """
    if isinstance(domain, Shared):
        place = Place(place.star, place.star, place.position, True)
        return site_of(domain.of, place) if isinstance(domain.of, Domain) else (domain, place)
    if isinstance(domain, Tied):
        return domain.of, Place(domain.name, domain.name, place.position, True)
    return domain, place


def depth_place(place: Place) -> Place:
    """The site of the number of repetitions of the field at `place`: its sibling `depth`."""
    above = [name.rpartition(".")[0] for name in (place.path, place.star, place.position)]
    return Place(above[0], above[1], above[2], place.shared).field("depth")


def picked(domain: Domain, where: Place, pick: PickIndex) -> int:
    """The index of the option at a place: a domain of one option is no site, and nobody is asked."""
    return pick(where.path, domain) if len(domain.options) > 1 else 0


def resolve(value: Any, pick: PickIndex, place: Place = Place()) -> Any:  # noqa: B008 - immutable
    """`value` with every domain replaced by the option that `pick(site, domain)` gives the index of.

    A site that is shared or tied is picked once for each place that it stands at: `pick` must answer consistently.
    """
    if isinstance(value, Repeat):
        times = value.times
        domain, where = site_of(times, depth_place(place))
        count = domain.options[picked(domain, where, pick)]
        return tuple(resolve(value.template, pick, place.item(i, True)) for i in range(count))
    if isinstance(value, Domain):
        domain, where = site_of(value, place)
        index = picked(domain, where, pick)
        return resolve(domain.options[index], pick, where.option(domain, index))
    if isinstance(value, Spec):
        if not value.has_choices:
            return value
        return value.replaced(resolve_fields(value, pick, place))
    if isinstance(value, tuple):
        return tuple(resolve(item, pick, place.item(i, False)) for i, item in enumerate(value))
    return value


def resolve_fields(spec: Spec, pick: PickIndex, place: Place, skip: tuple[str, ...] = ()) -> dict[str, Any]:
    """The resolved values of the fields of `spec` that hold choices, but for those in `skip`."""
    values = {}
    for name in spec.open_fields:
        if name in skip:
            continue
        value, at = getattr(spec, name), place.field(name)
        if name in spec.repeated and isinstance(value, tuple):
            values[name] = tuple(resolve(item, pick, at.item(i, True)) for i, item in enumerate(value))
        else:
            values[name] = resolve(value, pick, at)
    return values


def rows(
    run: Callable[[PickIndex], Any], fixed: Assignment | None = None
) -> Iterator[tuple[tuple[tuple[str, int], ...], Any]]:
    """Every (picks, result) of a program that draws its choices from a `pick`, in lexicographic order.

    Sites in `fixed` keep the index given there and are left out of the picks.
    """
    script: list[int] = []
    while True:
        taken: list[tuple[str, int]] = []
        sizes: list[int] = []
        known = dict(fixed or {})

        def pick(site: str, domain: Domain) -> int:
            if site in known:  # noqa: B023 - called before the next turn
                return known[site]  # noqa: B023
            index = script[len(taken)] if len(taken) < len(script) else 0  # noqa: B023
            taken.append((site, index))  # noqa: B023
            sizes.append(len(domain.options))  # noqa: B023
            known[site] = index  # noqa: B023
            return index

        result = run(pick)
        yield tuple(taken), result
        script = [index for _, index in taken]
        while script and script[-1] + 1 == sizes[len(script) - 1]:
            script.pop()
        if not script:
            return
        script[-1] += 1


def raw_size(value: Any) -> int:
    """How many ways there are to fill every domain in `value`, ties and shared choices counted each time they stand."""
    if isinstance(value, Repeat):
        each = raw_size(value.template)
        return sum(each**n for n in value.times.options)
    if isinstance(value, Domain):
        return sum(raw_size(option) for option in value.options)
    if isinstance(value, tuple):
        items: Any = value
    elif isinstance(value, Spec) and value.has_choices:
        items = (getattr(value, field.name) for field in fields(value))
    else:
        return 1
    size = 1
    for item in items:
        size *= raw_size(item)
    return size


def match(template: Any, value: Any, place: Place = Place(), known: Assignment | None = None) -> Assignment | None:  # noqa: B008
    """The picks by which `resolve(template, ...)` gives `value`, on top of those `known`; None if there are none."""
    known = {} if known is None else known
    if isinstance(template, Repeat):
        if not isinstance(value, tuple):
            return None
        domain, where = site_of(template.times, depth_place(place))
        picks = _choose(domain, where.path, len(value), known)
        return _match_all(((template.template, v, place.item(i, True)) for i, v in enumerate(value)), picks)
    if isinstance(template, Domain):
        domain, where = site_of(template, place)
        for index, option in enumerate(domain.options):
            if known.get(where.path, index) != index:
                continue
            start = known if len(domain.options) == 1 else {**known, where.path: index}
            found = match(option, value, where.option(domain, index), start)
            if found is not None:
                return found
        return None
    if isinstance(template, Spec) and template.has_choices:
        if type(value) is not type(template):
            return None
        items = []
        for field in fields(template):
            inner, given, at = getattr(template, field.name), getattr(value, field.name), place.field(field.name)
            if field.name in template.repeated and isinstance(inner, tuple):
                if not isinstance(given, tuple) or len(inner) != len(given):
                    return None
                items += [(t, v, at.item(i, True)) for i, (t, v) in enumerate(zip(inner, given, strict=True))]
            else:
                items.append((inner, given, at))
        return _match_all(iter(items), known)
    if isinstance(template, tuple):
        if not isinstance(value, tuple) or len(value) != len(template):
            return None
        pairs = enumerate(zip(template, value, strict=True))
        return _match_all(((t, v, place.item(i, False)) for i, (t, v) in pairs), known)
    return known if type(template) is type(value) and template == value else None


def _choose(domain: Domain, site: str, value: object, known: Assignment) -> Assignment | None:
    if value not in domain.options:
        return None
    index = domain.options.index(value)
    if known.get(site, index) != index:
        return None
    return known if len(domain.options) == 1 else {**known, site: index}


def _match_all(items: Iterator[tuple[Any, Any, Place]], known: Assignment | None) -> Assignment | None:
    for template, value, place in items:
        if known is None:
            return None
        known = match(template, value, place, known)
    return known


def sites(value: Any, place: Place = Place()) -> Iterator[tuple[str, Domain]]:  # noqa: B008
    """Every site of a template with its domain, those of options never chosen together included; may repeat shared ones."""
    if isinstance(value, Repeat):
        domain, where = site_of(value.times, depth_place(place))
        if len(domain.options) > 1:
            yield where.path, domain
        for i in range(max(domain.options)):
            yield from sites(value.template, place.item(i, True))
    elif isinstance(value, Domain):
        domain, where = site_of(value, place)
        if len(domain.options) > 1:
            yield where.path, domain
        for index, option in enumerate(domain.options):
            yield from sites(option, where.option(domain, index))
    elif isinstance(value, Spec) and value.has_choices:
        for field in fields(value):
            inner, at = getattr(value, field.name), place.field(field.name)
            if field.name in value.repeated and isinstance(inner, tuple):
                for i, item in enumerate(inner):
                    yield from sites(item, at.item(i, True))
            else:
                yield from sites(inner, at)
    elif isinstance(value, tuple):
        for i, item in enumerate(value):
            yield from sites(item, place.item(i, False))


def unique_sites(template: Any) -> dict[str, Domain]:
    """Every site of a template by path.

    Raises:
        SpaceError: one tie is used with two different domains.
    """
    found: dict[str, Domain] = {}
    for path, domain in sites(template):
        if found.setdefault(path, domain) != domain:
            raise SpaceError(f"tied choice {path!r} stands with two different domains: {found[path]!r} and {domain!r}")
    return found
