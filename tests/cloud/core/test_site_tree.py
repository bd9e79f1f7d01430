"""Sites in sites."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.core.device_state import Condition
from cloud.core.site_tree import MAX_DEPTH, RANKS, TOP, URGENCY, Site, SiteError, Sum, Tree

BERLIN, HALL, RACK, PARIS, OTHER_HALL = 1, 2, 3, 4, 5
TREE = Tree(
    [
        Site(PARIS, TOP, "paris"),
        Site(RACK, HALL, "Rack 1"),
        Site(BERLIN, TOP, "Berlin"),
        Site(OTHER_HALL, PARIS, "Hall"),
        Site(HALL, BERLIN, "Hall"),
    ]
)


def test_each_stands_behind_its_parent_and_siblings_by_name() -> None:
    assert [(node.title, node.depth) for node in TREE.nodes] == [
        ("Berlin", 0),
        ("Berlin / Hall", 1),
        ("Berlin / Hall / Rack 1", 2),
        ("paris", 0),
        ("paris / Hall", 1),
    ]
    assert [node.site_id for node in TREE.children(TOP)] == [BERLIN, PARIS]
    assert [node.site_id for node in TREE.line(RACK)] == [BERLIN, HALL, RACK]
    assert TREE.below(BERLIN) == {BERLIN, HALL, RACK}
    assert TREE.below(99) == frozenset()
    assert TREE.title(TOP) == ""


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("hall", {HALL, OTHER_HALL}),
        ("BERLIN/Hall", {HALL}),
        ("Berlin / Hall", {HALL}),
        ("/paris", {PARIS}),
        ("/Hall", set()),
        ("all", set()),
        ("Rack 1", {RACK}),
    ],
)
def test_a_site_is_named_by_the_end_of_its_path(text: str, found: set[int]) -> None:
    assert {node.site_id for node in TREE.named(text)} == found


def test_sums_hold_what_lies_below_and_the_worst_of_it() -> None:
    sums = TREE.sums(
        {
            (BERLIN, Condition.ON_MAINS): 2,
            (RACK, Condition.ON_BATTERY): 1,
            (RACK, Condition.OFFLINE): 4,
            (TOP, Condition.FAULT): 1,
            (99, Condition.ON_MAINS): 1,
        }
    )
    assert (sums[BERLIN].here, sums[BERLIN].devices, sums[BERLIN].worst) == (2, 7, Condition.ON_BATTERY)
    assert (sums[HALL].here, sums[HALL].devices) == (0, 5)
    assert sums[PARIS] == Sum()
    assert sums[PARIS].worst is None
    assert (sums[TOP].here, sums[TOP].worst) == (2, Condition.FAULT)


def test_every_state_has_a_rank() -> None:
    assert set(URGENCY) == set(Condition) == set(RANKS)
    assert len(URGENCY) == len(Condition)


def test_nothing_is_put_into_itself_nor_too_deep() -> None:
    for parent_id, told in ((HALL, "in itself"), (RACK, "in itself"), (99, "company’s sites")):
        with pytest.raises(SiteError, match=told):
            TREE.must_take(HALL, parent_id)
    TREE.must_take(HALL, TOP)
    TREE.must_take(HALL, OTHER_HALL)
    TREE.must_take(TOP, RACK)
    deep = Tree([Site(number, number - 1, f"level {number}") for number in range(1, MAX_DEPTH + 1)])
    with pytest.raises(SiteError, match="levels deep"):
        deep.must_take(TOP, MAX_DEPTH)
    deep.must_take(TOP, MAX_DEPTH - 1)
    taller = Tree(
        [
            *(Site(node.site_id, node.parent_id, node.name) for node in deep.nodes),
            Site(90, TOP, "x"),
            Site(91, 90, "y"),
        ]
    )
    taller.must_take(90, MAX_DEPTH - 2)
    with pytest.raises(SiteError, match="levels deep"):
        taller.must_take(90, MAX_DEPTH - 1)


@st.composite
def forests(draw: st.DrawFn) -> list[Site]:
    """Sites whose parents have smaller numbers; cousins may share a name, siblings do not."""
    sites: list[Site] = []
    for number in range(1, draw(st.integers(1, 12))):
        parent, name = draw(st.integers(0, number - 1)), draw(st.sampled_from(["a", "B", "c/d", "e"]))
        taken = any((one.parent_id, one.name) == (parent, name) for one in sites)
        sites.append(Site(number, parent, f"{name} {number}" if taken else name))
    return sites


@given(forests(), st.data())
def test_an_exact_name_finds_its_site_alone(sites: list[Site], data: st.DataObject) -> None:
    tree = Tree(sites)
    for node in tree.nodes:
        assert node.site_id in {one.site_id for one in tree.named(tree.exact_name(node.site_id))}
        if all("/" not in one.name for one in tree.nodes):
            assert [one.site_id for one in tree.named(tree.exact_name(node.site_id))] == [node.site_id]
    counts = {
        (site.site_id, data.draw(st.sampled_from(Condition))): data.draw(st.integers(1, 9)) for site in sites
    }
    sums = tree.sums(counts)
    at_top = sum(sums[node.site_id].devices for node in tree.children(TOP))
    assert at_top + sums[TOP].devices == sum(counts.values())
