"""The rules find what pages say, in the forms in which people say it, and leave alone what they can't tell."""

from pathlib import Path

import pytest

from tasks.corpus.wording import SUBJECT
from tasks.documents import relations
from tasks.documents.reading import Page, pages_in, read_page
from tasks.documents.rules import told_by

PAGES = Path(__file__).parent / "pages"


def facts(*texts, title=""):
    told = told_by([Page(f"{number}.md", title, "", text) for number, text in enumerate(texts)])
    return [(fact.subject, fact.relation.name, fact.object) for fact in told.facts]


def answers(text):
    return [(each.question, each.answer) for each in told_by([Page("a.md", "", "", text)]).answers]


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("Aurora is a tool for notes.", ("Aurora", "definition", "a tool for notes")),
        ("The hall was built in 1931.", ("hall", "built when", "1931")),
        ("The hall was founded by Ann Lee and the Town of Bergen.",
         ("hall", "founded by", "Ann Lee and the Town of Bergen")),
        ("On 3 May 1931 Sara Lunde bought the old mill.", ("old mill", "bought when", "3 May 1931")),
        ("Sara Lunde gave the clock in 1931.", ("clock", "given by", "Sara Lunde")),
        ("The treasurer is Olav Lunde.", ("Harbour Club", "treasurer", "Olav Lunde")),
        ("Olav Lunde is the treasurer of the Sailing Union.", ("Sailing Union", "treasurer", "Olav Lunde")),
        ("The club's hut keeper is Mei Tanaka.", ("club", "hut keeper", "Mei Tanaka")),
        ("The café opens at 9 am on Sundays.", ("café", "open when", "at 9 am on Sundays")),
        ("The hall is open from May to September.", ("hall", "open when", "from May to September")),
        ("Parking costs 2 € per hour, and members park for nothing.", ("Parking", "price", "2 € per hour")),
        ("The roof costs £12,000, we hear.", ("roof", "price", "£12,000")),
        ("We have about 14 rowing boats in two sheds.", ("Harbour Club", "number of rowing boats", "14")),
        ("The slipway is behind the fish market.", ("slipway", "location", "behind the fish market")),
        ("Nobody rowed before the war of 1914.", None),
        ("The storm of 1962 took the roof off.", ("Harbour Club", "year 1962", "The storm of 1962 took the roof off")),
    ],
)  # fmt: skip
def test_a_sentence_tells_of_its_subject(sentence, expected):
    found = facts(f"# About Harbour Club\n\n{sentence}")
    assert expected in found if expected else not [each for each in found if each[1] != "year 1914"]


@pytest.mark.parametrize(
    "sentence",
    [
        "It is a pity.", "This is the reason.", "There is a dog.", "What we have is a hall.", "If it is open, come in.",
        "The lower path will therefore be closed until 15 July.", "They gave us 212 boats in 2016.", "The hut is warm.",
        "The release is on track.", "The plan is under investigation.", "Today is a good day.", '"Fun is a thing."',
        "On 11 May we had 263 visitors.", "His initials and the date 1783 are above the door.", "No dogs.",
    ],
)  # fmt: skip
def test_what_no_form_fits_is_left_alone(sentence):
    assert [each for each in facts(f"# Harbour Club\n\n{sentence}") if not each[1].startswith("year")] in (
        [], [("Harbour Club", "definition", "a pity")],  # "it" is what the page is about
    )  # fmt: skip


def test_it_is_what_the_sentence_before_was_about():
    found = facts("# Harbour Club\n\nThe hut was built in 1931. It was sold by Ann Lee in 1950.")
    assert ("hut", "sold when", "1950") in found and ("hut", "sold by", "Ann Lee") in found


def test_keys_are_of_the_nearest_name_or_of_their_own_heading_where_they_are_repeated():
    found = facts(
        "# Our boats\n\n## Tern\n- Crew: 3\n- Built: 2004\n\n## Albatross\n- Crew: 5\n- Mast: oak\n", title="x"
    )
    assert ("Tern", "crew", "3") in found and ("Albatross", "crew", "5") in found
    assert ("Tern", "built when", "2004") in found
    assert facts("# Harbour Club\n\nPhone: 123 45 67\nDeposit: 50 €") == [
        ("Harbour Club", "phone", "123 45 67"), ("Deposit", "price", "50 €"),
    ]  # fmt: skip


def test_days_amounts_and_people_are_known_by_their_form():
    found = facts(
        "# Hut\n\n## Opening hours\n- Mon–Fri: 9–17\n- Saturday & Sunday: closed\n\n## People\n"
        "- Ann Lee: head keeper since 2011\n- **Baker**: Olav Lunde. He likes rye.\n- Summer Fair: 14 June, 10 am\n"
    )
    assert ("Hut", "opening hours on Mon–Fri", "9–17") in found
    assert ("Hut", "opening hours on Saturday & Sunday", "closed") in found
    assert {("Ann Lee", "definition", "head keeper since 2011"), ("Hut", "head keeper", "Ann Lee")} <= set(found)
    assert {("Hut", "baker", "Olav Lunde"), ("Olav Lunde", "definition", "baker")} <= set(found)
    assert ("Summer Fair", "date", "14 June, 10 am") in found


def test_a_table_tells_of_its_rows():
    table = "| Ticket | Price | Age |\n|---|---|---|\n| Adult (16+) | £7 | – |\n| Child under five | free | 0–4 |\n"
    assert facts(f"# Entry\n\n{table}") == [
        ("Adult ticket", "price", "£7"), ("Child under five", "price", "free"), ("Child under five", "age", "0–4"),
    ]  # fmt: skip
    hours = "| Day | Shop |\n|---|---|\n| Monday | closed |\n"
    assert facts(f"# Times\n\n{hours}") == [("Shop", "opening hours on Monday", "closed")]


def test_headings_ask_and_promise():
    text = "# Rules\n\n## May I smoke?\nNo. Never.\n\n## Lost things\nThey lie in a box.\n\n"
    text += "# How to come\n\n## By bus\nTake 12.\n"
    assert answers(text) == [("May I smoke?", "No. Never."), ("How to come by bus?", "Take 12.")]
    assert ("Rules", "lost things", "They lie in a box.") in facts(text)


def test_what_is_no_persons_work_does_not_define_them():
    found = facts("# Hut\n\n- From: Ann Lee\n- Apologies: Peter Wells\n- Gift Vouchers: the perfect gift for a host\n")
    assert not [each for each in found if each[1] == "definition" and each[0] != "Gift Vouchers"]
    assert ("Hut", "perfect gift for a host", "Gift Vouchers") not in found


def test_a_table_without_a_header_has_keys_and_values_and_days_stand_under_any_heading():
    table = "|  |  |\n|---|---|\n| Monday | 9–17 |\n| Size | 5 |\n"
    assert facts(f"# Hut\n\n{table}") == [("Hut", "opening hours on Monday", "9–17"), ("Hut", "size", "5")]
    assert facts("# Hut\n\n## Contact\n\n- Saturday: closed\n") == [("Hut", "opening hours on Saturday", "closed")]


def test_headings_lose_their_numbers_and_answers_that_announce_something_are_none():
    assert facts("# Hut\n\n## 2. Lost things\n\nThey stay for long.\n\n## Install it now\n\nRun this:\n") == [
        ("Hut", "lost things", "They stay for long.")
    ]


def test_marks_within_marks_without_end_are_a_text():
    told_by([Page("a.md", "", "", "*" * 3000 + "a" + "*" * 3000)])


@pytest.mark.parametrize(
    "key", ["{subject}", "the <|end|>", "{object} now", "Q", "queue.push(x)", "Step 3", "2012 - 2015", "+"]
)
def test_a_key_that_no_template_can_hold_is_left_alone(key):
    table = f"| Day | {key} |\n|---|---|\n| Monday | x |\n"
    assert facts(f"# Hut\n\n- {key}: 4\n- Size: 5\n\n{table}\n## {key}\n\nIt rains.\n") == [("Hut", "size", "5")]


def test_what_two_pages_contradict_is_left_out():
    assert facts("# A\n\nThe hall was built in 1931.", "# B\n\nThe hall was built in 1932.") == []
    assert facts("# A\n\nThe hall was built in 1931.", "# B\n\nThe Hall was built in 1931.") == [
        ("hall", "built when", "1931")
    ]


def test_of_korean_keys_tables_headings_and_definitions_are_known():
    found = facts(
        "# 등대\n\n- 높이: 20미터\n\n등대는 배를 돕는 건물입니다.\n\n| 방 | 가격 |\n|---|---|\n| 큰 방 | 3만 원 |\n"
    )
    assert found == [("등대", "높이", "20미터"), ("등대", "정의", "배를 돕는 건물"), ("큰 방", "가격", "3만 원")]
    assert answers("# 질문\n\n## 언제 열어요?\n아홉 시에 열어요.") == [("언제 열어요?", "아홉 시에 열어요.")]


def test_the_example_pages_give_what_a_visitor_would_ask():
    told = told_by([read_page(path, PAGES) for path in pages_in(PAGES)])
    found = {(fact.subject, fact.relation.name): fact for fact in told.facts}
    school = "Fjord Sailing School"
    assert found[school, "founded by"].object == "Ingrid Halvorsen"
    assert found[school, "phone"].object == "+47 555 12 34" and found[school, "phone"].source == "contact.md"
    assert found["Night sailing", "price"].object == "95 €"
    assert found["Parking", "price"].source == "getting-there.html"
    assert found[school, "cancellation policy"].source == "rules.md § Cancellation policy"
    assert len(told.answers) == 3


@pytest.mark.parametrize(
    "relation",
    [
        relations.noun("price"), relations.noun("opening hours"), relations.noun("baker", who=True),
        relations.definition(), relations.done_when("built"), relations.done_by("built"), relations.where(),
        relations.does_when("open"),
        relations.count("boats"), relations.on_day("hours", "Monday"), relations.in_year("1931"),
        relations.noun_ko("가격"), relations.definition_ko(),
    ],
)  # fmt: skip
def test_a_relations_wordings_are_distinct_and_one_is_held_out(relation):
    wording = relation.wording
    assert wording.paraphrase not in wording.questions
    assert len(set(wording.questions)) == len(wording.questions) >= 6
    assert not set(wording.everyday) & {*wording.questions, wording.paraphrase} and wording.everyday
    assert len(set(wording.statements)) == 4
    assert all(text.count(SUBJECT) == 1 for text in (*wording.questions, *wording.everyday))


def test_another_wording_is_held_out_of_another_relation():
    held_out = {
        relations.noun(key).wording.paraphrase.replace(key, "K") for key in ("price", "age", "size", "phone", "crew")
    }
    assert len(held_out) > 1
