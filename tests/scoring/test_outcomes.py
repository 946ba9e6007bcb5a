"""Which rows were answered rightly, and how many facts stand behind a share."""

from tasks.corpus.slices import Examples
from tasks.scoring.knowledge import Knowledge
from tasks.scoring.outcomes import fact_of, facts_behind, is_chat, outcomes_of


def row(identity, fact=None, prompt="?", target="!", stale=None):
    return {"id": identity, "fact": fact, "prompt": prompt, "target": target, "stale": stale}


def test_every_row_is_named_by_its_id_and_by_what_is_asked_and_expected():
    known = Knowledge()
    seen = row("2021/7/en/seen", "2021/7")
    known.add("2021", "seen", [seen, row("2021/examples/3")], [True, False])
    known.add("2021", "everyday", [row("2021/7/en/everyday", "2021/7")], [False])
    known.add("2021", "stale", [row("2021/7/en/seen", "2021/7", target="old")], [True])  # an answer, no test row
    chat = [(row("2020/chat/4/0", prompt="hello", target="hi"), True)]
    found = outcomes_of(known, chat)
    assert [(each.split("#")[0], right) for each, right in found.items()] == [
        ("2021/7/en/seen", True), ("2021/examples/3", False), ("2021/7/en/everyday", False), ("2020/chat/4", True),
    ]  # fmt: skip
    edited = Knowledge()
    edited.add("2021", "seen", [seen | {"target": "?"}], [True])
    assert not found.keys() & outcomes_of(edited, []).keys()
    names = list(found)
    assert fact_of(names[0]) == fact_of(names[2]) == "2021/7"
    assert fact_of(names[1]) == names[1]
    assert [is_chat(name) for name in names] == [False, False, False, True]


def test_the_wordings_and_languages_of_a_fact_count_once():
    known, rows = Knowledge(), {}
    for kind in ("seen", "paraphrase"):
        rows[kind] = [row(f"2021/{fact}/{language}/{kind}", f"2021/{fact}", stale="old" if fact == 2 else None)
                      for fact in (1, 2, 3) for language in ("en", "ko")]  # fmt: skip
        known.add("2020", kind, [row(f"2020/9/en/{kind}", "2020/9")], [True])
        known.add("2021", kind, [*rows[kind], row("2021/examples/5")], [True] * 7)
    known.add("2021", "stale", [each for each in rows["seen"] if each["stale"]], [False, False])
    facts = [{"id": f"2021/{fact}", "category": "updated" if fact == 2 else "new"} for fact in (1, 2, 3)]
    current = Examples(name="2021", facts=facts, test=[*rows["seen"], *rows["paraphrase"], row("2021/examples/5")])
    assert facts_behind(known, current) == {"own": 4, "reworded": 4, "new": 3, "updated": 1, "stale": 1}
