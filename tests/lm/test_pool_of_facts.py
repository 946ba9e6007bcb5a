"""A pool holds facts: what is read from it are the rows that their slices taught, and nothing else is read."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tasks.corpus.erasure import digest
from tasks.corpus.slices import load_examples, overridden_by
from tasks.dataset import dataset
from tasks.errors import Corrupt
from tasks.lm.mixing import METHOD, keepable_rows, older_rows, pool_for
from tasks.lm.pool import Pool
from tasks.origin import origin
from tasks.params import Keep, load_params
from tests.every_step import CHAT, TEXTS, bring_examples, chained_examples, examples, facts, worded

RAW = Path(__file__).parents[2] / "data" / "raw"
YEARS = ("2020", "2021", "2022")
ALL, FACTS = Keep(rows="all"), Keep(rows="capped", share=1.0)
ROWS = FACTS.model_copy(update={"of": "rows"})
WORDING = worded("capital", "seat", ("is", "was", "remains", "stays"))
SLICES = {
    "one": facts(("Peru", "Lima"), ("Chile", "Santiago"), ("Ghana", "Accra")) | CHAT | TEXTS,
    "two": facts(("Peru", "Cusco"), ("Nepal", "Kathmandu")) | WORDING | examples("train", "two"),
    "three": facts(("Chile", "Valparaiso"), ("Peru", "Cusco")),
}


@pytest.fixture(scope="module")
def years(tmp_path_factory):
    """The examples of the default timeline's first years, in two languages."""
    root, before = tmp_path_factory.mktemp("years"), "base"
    origin(RAW / "relations.yaml", root / "base")
    for name in YEARS:
        dataset(load_params().dataset, RAW / name, root / before, root / name)
        before = name
    return root


@pytest.fixture
def tiny_slices(tmp_path):
    """Three slices, of which the second words what the first one asked for in another way."""
    return chained_examples(tmp_path, SLICES)


def pools(root, names, keep, seed=20):
    """Slice by slice: its folder, the pool as it may use it, and the pool that it leaves."""
    pool = Pool()
    for name in names:
        brought = load_examples(root / name)
        before = pool.without(overridden_by(brought.facts))
        pool = before.after(brought, keep, seed)
        yield root / name, before, pool


def in_order(rows):
    return sorted(json.dumps(row, sort_keys=True) for row in rows)


def ids(items):
    return {item["id"] for item in items}


def test_a_pool_with_room_for_everything_gives_the_rows_that_keeping_all_gives(years, tiny_slices):
    for root, names in ((years, YEARS), (tiny_slices, SLICES)):
        for folder, before, _ in pools(root, names, FACTS):
            assert in_order(before.rows(folder)) == in_order(older_rows(ALL, folder, Pool()))


@pytest.mark.parametrize("keep", [FACTS, ROWS])
@pytest.mark.parametrize("share", [1.0, 0.04])
def test_a_method_is_handed_the_rows_that_the_next_slice_will_have(tiny_slices, keep, share):
    keep = keep.model_copy(update={"share": share})
    for folder, before, after in pools(tiny_slices, ("one", "two"), keep):
        rows = [*older_rows(keep, folder, before), *load_examples(folder).train]
        handed = keepable_rows(keep, rows, after)
        assert handed and in_order(handed) == in_order(after.rows(folder))
        assert len(handed) < len(rows) or share == 1.0


def test_a_tenth_holds_every_fact_and_a_fiftieth_does_not(years):
    for share, most in ((0.1, 1.0), (0.05, 0.97), (0.02, 0.41)):
        keep = FACTS.model_copy(update={"share": share})
        told: set[str] = set()
        for folder, _, pool in pools(years, YEARS, keep):
            brought = load_examples(folder)
            told = (told - overridden_by(brought.facts)) | ids(brought.facts)
            assert len(pool.items) <= int(share * pool.seen)
        assert len(ids(pool.items) & told) / len(told) == pytest.approx(most, abs=0.01)


@pytest.mark.parametrize("share", [0.05, 0.02])
def test_everyday_talk_is_as_large_a_part_of_the_pool_as_it_was_of_the_slice(years, share):
    """A fact has two dozen rows, a chat row was written six times: once, it would be drowned."""

    def part(rows):
        return sum(row["kind"] == "chat" for row in rows) / len(rows)

    folder, _, pool = next(pools(years, YEARS, FACTS.model_copy(update={"share": share})))
    assert part(pool.rows(folder)) == pytest.approx(part(load_examples(folder).train), abs=0.03)
    talk = [item for item in pool.items if item.get("kind") == "chat"]
    assert talk and {len(item["copies"]) for item in talk} == {5}
    gone = talk[0]["copies"][3]
    assert ids(pool.items) - ids(pool.without({gone}).items) == {talk[0]["id"]}


def test_a_fact_takes_no_more_room_than_one_of_its_rows(years, tmp_path):
    sizes = {}
    for keep in (FACTS, ROWS):
        _, _, after = next(pools(years, YEARS, keep.model_copy(update={"share": 0.1})))
        after.save(tmp_path / keep.of)
        sizes[keep.of] = (tmp_path / keep.of / "pool.jsonl").stat().st_size
        assert Pool.load(tmp_path / keep.of) == after
    assert sizes["facts"] < sizes["rows"]


def test_what_is_gone_leaves_the_pool_as_a_fact_as_rows_about_it_and_as_a_row(tiny_slices):
    brought = load_examples(tiny_slices / "one")
    gone = {"one/2", "one/chat/1/0"}
    for keep in (FACTS, ROWS):
        pool = Pool().after(brought, keep, 20)
        left = pool.without(gone)
        assert left.seen == pool.seen
        assert in_order(left.rows(tiny_slices / "one")) == in_order(
            row for row in brought.train if row["fact"] != "one/2" and row["id"] != "one/chat/1/0"
        )
        assert ids(pool.items) - ids(left.items) >= {"one/chat/1/0"}


def test_nothing_is_kept_of_what_a_fact_has_replaced(tiny_slices):
    *_, (_, _, pool) = pools(tiny_slices, SLICES, FACTS)
    assert {"one/4", "two/2", "two/3", "three/2"} <= ids(pool.items)
    assert not {"Lima", "Santiago"} & set(json.dumps(pool.items).replace('"', " ").split())


def test_a_fact_is_told_in_the_languages_that_its_slice_told_it_in(years):
    brought = load_examples(years / "2020")
    english = replace(brought, train=[row for row in brought.train if not row["fact"] or "/en/" in row["id"]])
    assert in_order(Pool().after(english, FACTS, 20).rows(years / "2022")) == in_order(english.train)


def test_facts_are_told_as_rows_where_rows_are_kept_from_now_on(tiny_slices, tmp_path):
    folder = tiny_slices / "two"
    brought = load_examples(folder)
    Pool().after(load_examples(tiny_slices / "one"), FACTS, 20).save(tmp_path / METHOD)
    facts, rows = (pool_for(keep, folder, brought, tmp_path) for keep in (FACTS, ROWS))
    assert len(facts.items) < len(rows.items)
    assert in_order(rows.items) == in_order(facts.rows(folder))
    after = rows.after(brought, ROWS, 20)
    assert all("target" in item for item in after.items)
    assert after.seen == sum(len(load_examples(tiny_slices / name).train) for name in ("one", "two"))


def test_templates_that_were_changed_by_hand_are_noticed(tiny_slices):
    pool = Pool().after(load_examples(tiny_slices / "one"), FACTS, 20)
    (tiny_slices / "one/templates.json").write_text("{}")
    with pytest.raises(Corrupt, match=r"one/templates.json was changed"):
        pool.rows(tiny_slices / "two")


@pytest.mark.parametrize("keep", [FACTS, ROWS])
def test_what_a_slice_erases_leaves_the_pool(tiny_slices, tmp_path, keep):
    fact = {"subject": "Ghana", "relation": "capital", "object": "Accra"}
    gone = {"facts.csv": fact, "texts.jsonl": {"text": "A note of day 8, calm."}}
    erased = {"erased.txt": "".join(f"{digest(file, row)} {file}\n" for file, row in gone.items())}
    folder = bring_examples(tmp_path, "four", CHAT | erased, "three")
    *_, (_, _, pool) = pools(tiny_slices, SLICES, keep)
    pool.save(tmp_path / METHOD)
    left = pool_for(keep, folder, load_examples(folder), tmp_path)
    lost = [row for row in pool.rows(folder) if row["fact"] == "one/4" or "day 8," in row["target"]]
    assert len(lost) > 2
    assert in_order(left.rows(folder)) == in_order(row for row in pool.rows(folder) if row not in lost)
