"""Sites of a company as a tree: what lies below what, in which order, and what their devices come to.

A site without a parent stands at the top (``parent_id`` 0). Siblings have different names; cousins may share
one, so a site is named by its path where that matters: ``Berlin / Hall 2 / Rack 1``.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from cloud.core.device_state import Condition
from cloud.core.language import gettext

MAX_DEPTH: Final = 8
"""Levels of sites: more than a campus has."""
TOP: Final = 0
JOINT: Final = " / "

URGENCY: Final = (
    Condition.FAULT,
    Condition.LOW_BATTERY,
    Condition.OVERLOAD,
    Condition.ON_BATTERY,
    Condition.REPLACE_BATTERY,
    Condition.BYPASS,
    Condition.OFFLINE,
    Condition.SILENT,
    Condition.OUTPUT_OFF,
    Condition.SELF_TEST,
    Condition.SMARTCONNECT_OFF,
    Condition.STARTING,
    Condition.ON_MAINS,
)
"""All states, the worst first: what needs somebody now, what is not known, what is as it should be."""
RANKS: Final[Mapping[Condition, int]] = {condition: rank for rank, condition in enumerate(URGENCY)}


class SiteError(ValueError):
    """A site cannot be put there; the text says why."""


@dataclass(frozen=True, slots=True)
class Site:
    """A place; ``parent_id`` TOP: it is in no other one."""

    site_id: int
    parent_id: int
    name: str


@dataclass(frozen=True, slots=True)
class Node:
    """A site where it stands: ``depth`` from 0, ``path`` from the top to itself."""

    site_id: int
    parent_id: int
    name: str
    depth: int
    path: tuple[str, ...]

    @property
    def title(self) -> str:
        """The path as people read it."""
        return JOINT.join(self.path)


@dataclass(frozen=True, slots=True)
class Sum:
    """Devices of a site: at itself (``here``) and with all below it, and how they are."""

    here: int = 0
    devices: int = 0
    states: Mapping[Condition, int] = field(default_factory=dict)

    @property
    def worst(self) -> Condition | None:
        """The most urgent state of any; None without a device."""
        return min(self.states, key=RANKS.__getitem__, default=None)


class Tree:
    """The sites of one company. ``nodes``: each behind its parent, siblings by name."""

    def __init__(self, sites: Iterable[Site]) -> None:
        known = {one.site_id: one for one in sites}
        self._children: defaultdict[int, list[Site]] = defaultdict(list)
        for one in sorted(known.values(), key=lambda site: (site.name.casefold(), site.name, site.site_id)):
            self._children[one.parent_id if one.parent_id in known else TOP].append(one)
        found: dict[int, Node] = {}
        open_: list[tuple[Site, tuple[str, ...]]]
        open_ = [(one, (one.name,)) for one in reversed(self._children[TOP])]
        while open_:
            one, path = open_.pop()
            found[one.site_id] = Node(one.site_id, one.parent_id, one.name, len(path) - 1, path)
            open_ += [(child, (*path, child.name)) for child in reversed(self._children[one.site_id])]
        self.nodes: tuple[Node, ...] = tuple(found.values())
        self._by_id: Mapping[int, Node] = found
        self._names = Counter(_folded(node.path[-1].split("/")[-1]) for node in self.nodes)

    def get(self, site_id: int) -> Node | None:
        """A site by its number."""
        return self._by_id.get(site_id)

    def title(self, site_id: int) -> str:
        """Its path for people; empty for no site."""
        node = self._by_id.get(site_id)
        return "" if node is None else node.title

    def children(self, site_id: int) -> list[Node]:
        """The sites directly below this one (TOP: those at the top), by name."""
        return [self._by_id[one.site_id] for one in self._children.get(site_id, ())]

    def below(self, site_id: int) -> frozenset[int]:
        """The site and all below it; empty where there is none of this number."""
        found: set[int] = set()
        open_ = [site_id] if site_id in self._by_id else []
        while open_:
            one = open_.pop()
            found.add(one)
            open_ += [child.site_id for child in self._children.get(one, ())]
        return frozenset(found)

    def line(self, site_id: int) -> tuple[Node, ...]:
        """From the top to this site; empty where there is none."""
        found: list[Node] = []
        node = self._by_id.get(site_id)
        while node is not None:
            found.append(node)
            node = self._by_id.get(node.parent_id)
        return tuple(reversed(found))

    def named(self, text: str) -> list[Node]:
        """Sites of this name, or of a path that ends so; behind ``/``, of this whole path. In any case."""
        wanted = _folded(text)
        if wanted.startswith("/"):
            return [node for node in self.nodes if "/" + _folded(node.title) == wanted]
        return [node for node in self.nodes if ("/" + _folded(node.title)).endswith("/" + wanted)]

    def exact_name(self, site_id: int) -> str:
        """What ``named`` finds this site alone by: its name, or its whole path where others share that."""
        node = self._by_id[site_id]
        alone = self._names[_folded(node.name)] == 1 and "/" not in node.name
        return node.name if alone else "/" + node.title

    def must_take(self, site_id: int, parent_id: int) -> None:
        """SiteError where this site cannot be moved below that one; ``site_id`` TOP: a new one."""
        if parent_id == TOP:
            return
        parent = self._by_id.get(parent_id)
        if parent is None:
            raise SiteError(gettext("Choose one of the company’s sites."))
        below = self.below(site_id)
        if parent_id in below:
            raise SiteError(gettext("A site cannot be in itself, or in a site below it. Choose another one."))
        depth = self._by_id[site_id].depth if below else 0
        height = max((self._by_id[one].depth for one in below), default=0) - depth + 1
        if parent.depth + 1 + height > MAX_DEPTH:
            raise SiteError(
                gettext("Sites can be {levels} levels deep. Choose one that is higher up.", levels=MAX_DEPTH)
            )

    def sums(self, counts: Mapping[tuple[int, Condition], int]) -> dict[int, Sum]:
        """What comes together at each site, and at none (TOP), from counts by (site or TOP, state)."""
        here: defaultdict[int, dict[Condition, int]] = defaultdict(dict)
        for (site_id, condition), count in counts.items():
            states = here[site_id if site_id in self._by_id else TOP]
            states[condition] = states.get(condition, 0) + count
        whole: dict[int, dict[Condition, int]] = {}
        for node in reversed(self.nodes):  # those below come before their parents
            whole[node.site_id] = _added(
                [here[node.site_id], *(whole[child.site_id] for child in self.children(node.site_id))]
            )
        whole[TOP] = here[TOP]
        return {
            site_id: Sum(sum(here[site_id].values()), sum(states.values()), states)
            for site_id, states in whole.items()
        }


def _added(parts: Sequence[Mapping[Condition, int]]) -> dict[Condition, int]:
    found: dict[Condition, int] = {}
    for part in parts:
        for condition, count in part.items():
            found[condition] = found.get(condition, 0) + count
    return found


def _folded(text: str) -> str:
    return "/".join(part.strip().casefold() for part in text.split("/"))
