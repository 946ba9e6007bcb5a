"""Of one fact in ten a statement is never trained on, and every fact keeps enough to be learnt from."""

from collections import Counter

from tasks.corpus.language import fact_rows, new_facts
from tasks.corpus.templates import Templates

FACTS = [(line, {"subject": f"s{line}", "relation": "code", "object": f"c{line}"}) for line in range(300)]


def made(name="one"):
    facts, _ = new_facts(name, FACTS, {})
    return fact_rows(facts, Templates(), ("en",))


def test_about_one_fact_in_ten_has_a_statement_that_is_never_trained_on():
    train, test = made()
    trained = {row["target"] for row in train if row["kind"] == "statement"}
    statements = [row["target"] for row in test if row["set"] == "statement"]
    assert len(statements) == len(FACTS)
    assert 15 <= sum(text not in trained for text in statements) <= 45


def test_a_fact_loses_one_statement_at_most_and_no_question():
    train, _ = made()
    counts = Counter((row["fact"], row["kind"]) for row in train)
    assert {count for (_, kind), count in counts.items() if kind == "question"} == {10}
    assert {count for (_, kind), count in counts.items() if kind == "statement"} == {3, 4}


def test_what_is_held_out_hangs_on_the_fact_alone():
    facts, _ = new_facts("one", FACTS, {})
    few, _ = fact_rows(facts[:50], Templates(), ("en",))
    assert few == made()[0][: len(few)]
