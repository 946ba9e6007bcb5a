import re
import unicodedata
from pathlib import Path
from random import Random

import pytest

from tasks.corpus.language import split_memories
from tasks.corpus.raw import read_raw
from tasks.corpus.topics import DAY, MESSAGE, Topic, TopicLine, Topics, key_groups, read_topics, topic_lines, varied
from tasks.errors import BadInput
from tasks.params import load_params

RAW = Path(__file__).parents[2] / "data/raw"
PARAMS = load_params(RAW.parents[1] / "params.yaml")
DAYS = {"today's": ("today",), "weekend": ("this weekend", "on Saturday")}
WHOLE = "topics:\n- {keys: [a], values: [b], messages: [c]}\n"
COPIES, TOPICS, MESSAGES = 3, 6, 100


def numbered(**more):
    """Topics whose messages are numbered, so that a message is known by its number in whatever wording.

    Those of even numbers name days.
    """
    made = [
        Topic(
            keys=(f"{day}key {place}", f"{day}word {place}"),
            values=("one", "two"),
            messages=tuple(f"{day}ask {place}-{number} film" for number in range(MESSAGES)),
        )
        for place in range(TOPICS)
        for day in [f"{DAY} " * (place % 2 == 0)]
    ]
    return Topics(days=DAYS, topics=tuple(made), **more)


def number_of(line):
    return re.search(r"\d+-\d+", line.message).group()


def dated(number):
    return int(number.split("-")[0]) % 2 == 0


def plain(text):
    """A text without case, punctuation and spaces."""
    return "".join(letter for letter in unicodedata.normalize("NFC", text.lower()) if letter.isalnum())


def first_words(text, words):
    """A text with the first of all words that may stand for each other."""
    for group in words:
        for word in group:
            text = re.sub(rf"(?<!\w){re.escape(word)}(?!\w)", group[0], text)
    return text


def said_by(file):
    """The messages of a file in every wording of their days."""
    words = [word for of_day in file.days.values() for word in of_day]
    return {
        plain(message.replace(DAY, word))
        for topic in file.topics
        for message in topic.messages
        for word in words or [""]
    }


@pytest.fixture(scope="module")
def made():
    return topic_lines([numbered(words=(("film", "movie"),), frames=(MESSAGE, f"Hey, {MESSAGE}"))], COPIES, seed=1)


def test_a_message_is_trained_on_so_many_times_or_once_for_every_day_or_held_out_once(made):
    train, held_out = ([number_of(line) for line in lines] for lines in made)
    assert not set(train) & set(held_out)
    assert len(set(train) | set(held_out)) == TOPICS * MESSAGES and len(held_out) == len(set(held_out))
    for number in set(train):
        assert train.count(number) == (len(DAYS) if dated(number) else COPIES)
    assert all({line.key.split()[0] for line in made[0] if number_of(line) == each} == set(DAYS)
               for each in train if dated(each))  # fmt: skip


def test_of_every_topic_some_messages_are_held_out_and_most_are_not(made):
    for topic in range(TOPICS):
        held_out = [line for line in made[1] if number_of(line).startswith(f"{topic}-")]
        assert 0 < len(held_out) < MESSAGES / 4


def test_a_held_out_message_stands_as_it_was_written(made):
    assert all(re.fullmatch(r"((today|this weekend|on Saturday) )?ask \d+-\d+ film", line.message) for line in made[1])


def test_a_day_fills_the_key_and_the_message_alike(made):
    for line in [*made[0], *made[1]]:
        days = [day for day in DAYS if line.key.startswith(day)]
        assert len(days) == dated(number_of(line))
        assert all(any(word in line.message for word in DAYS[day]) for day in days)
        assert DAY not in line.key + line.message + line.group


def test_lines_of_one_topic_and_day_are_a_group_and_no_others_are(made):
    groups = {}
    for line in [*made[0], *made[1]]:
        day = next((day for day in DAYS if line.key.startswith(day)), "")
        groups.setdefault(line.group, set()).add((number_of(line).split("-")[0], day))
    assert all(len(each) == 1 for each in groups.values())
    assert len(groups) == TOPICS // 2 * len(DAYS) + TOPICS // 2


def test_keys_values_days_words_and_frames_all_vary(made):
    train = [line for line in made[0] if number_of(line).startswith(number_of(made[0][0]).split("-")[0])]
    assert {line.value for line in train} == {"one", "two"}
    assert {line.key.split()[-2] for line in train} == {"key", "word"}
    assert {"film" in line.message for line in train} == {"Hey" in line.message for line in train} == {True, False}


def test_the_same_seed_gives_the_same_lines_and_what_is_held_out_hangs_on_no_seed():
    one, again, other = (topic_lines([numbered()], COPIES, seed) for seed in (1, 1, 2))
    assert one == again != other
    assert {number_of(line) for line in one[1]} == {number_of(line) for line in other[1]}


def test_words_are_exchanged_whole_and_a_message_is_framed_half_of_the_time():
    words, frames = (("film", "movie"), ("음식", "요리")), (f"Hey, {MESSAGE}",)
    said = [varied("A film, a filmstar, 음식 and 음식점?", words, frames, Random(seed)) for seed in range(400)]
    assert 150 < sum(message.startswith("Hey, A ") for message in said) < 250
    bare = {message.removeprefix("Hey, ") for message in said}
    assert bare == {f"A {film}, a filmstar, {food} and 음식점?" for film in words[0] for food in words[1]}


def test_without_words_and_frames_a_message_stays_as_it_is():
    assert varied("Which film?", (), (), Random(1)) == "Which film?"


def test_a_key_is_of_its_topics_group_else_of_its_own():
    group = key_groups([TopicLine("film", "x", "?", "0/1"), TopicLine("best film", "x", "?", "0/1")], [])
    assert group("film") == group("best film") == "0/1"
    assert group("shoe size") != group("hat size")


@pytest.mark.parametrize(
    "synonyms", [[["film", "picture"]], [["picture", "film"]], [["play", "picture"], ["film", "play"]]]
)
def test_a_synonym_of_a_topics_key_is_of_that_topic(synonyms):
    topics = [TopicLine("film", "x", "?", "0/1"), TopicLine("best film", "x", "?", "0/1")]
    group = key_groups(topics, synonyms)
    assert group("picture") == group("film") == group("best film")


def test_topics_whose_keys_count_as_one_are_one_group():
    topics = [TopicLine(key, "x", "?", number) for key, number in (("singer", "1"), ("star", "1"), ("idol", "2"))]
    group = key_groups(topics, [["idol", "singer"]])
    assert group("idol") == group("singer") == group("star") != group("actor")


def test_synonyms_that_no_topic_knows_are_a_group_of_their_own():
    group = key_groups([], [["a", "b"], ["c", "d"]])
    assert group("a") == group("b") != group("c") == group("d") != group("e")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (WHOLE.replace("messages", "mesages"), r"a\.yaml: topics\.0\.mesages: Extra inputs"),
        (WHOLE.replace("[c]", "[]"), r"a\.yaml: topics\.0\.messages: a list should have at least 1 item, not 0\."),
        (WHOLE.replace(", messages: [c]", ""), r"a\.yaml: topics\.0\.messages: Field required"),
        (WHOLE.replace("[b]", "[b, 39]"), r"a\.yaml: topics\.0\.values\.1: Input should be a valid string"),
        (WHOLE.replace("[a]", "[' ']"), r"a\.yaml: topics\.0\.keys\.0: "),
        (WHOLE.replace("[b]", "&b [b]").replace("[c]", "*b"), r"a\.yaml, line 2: aliases"),
        (WHOLE + "topics: []\n", r'a\.yaml, line 3: key "topics" is given twice'),
        (WHOLE + "frames: [Hello!]\n", r"a\.yaml: topics: the frame 'Hello!' has no \{message\}"),
        (
            WHOLE.replace("[a]", "['{day} a']").replace("[c]", "['c {day}']"),
            r"'\{day\} a' has a \{day\}, but there are no",
        ),
        (WHOLE.replace("[c]", "['c {day}']"), r"a\.yaml: topics: 'a' has \{day\} in some keys and messages"),
        (WHOLE.replace("[a]", "['{day} a']"), r"a\.yaml: topics: '\{day\} a' has \{day\} in some keys and messages"),
        (WHOLE + "days: {today: []}\n", r"a\.yaml: days\.today: a list should"),
        ("topics: []\n", r"a\.yaml: topics: a list should have at least 1 item"),
        ("", r"a\.yaml is empty: keys and their values are expected"),
        ("# topics:\n", r"a\.yaml is empty"),
        ("- a\n", r"a\.yaml, line 1: keys and their values are expected, not a list"),
        ("topics: [film]\n", r"a\.yaml: topics\.0: keys and their values are expected here\."),
        (WHOLE.replace("[a]", "a"), r"a\.yaml: topics\.0\.keys: a list is expected here\."),
        ("topics: [", r"a\.yaml, line 2"),
        ("\udcff", r"a\.yaml, line 1: byte 1 is no UTF-8"),
    ],
)
def test_a_mistake_in_a_file_of_topics_is_one_sentence_with_its_place(tmp_path, text, expected):
    (tmp_path / "a.yaml").write_text(text, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(BadInput, match=expected) as raised:
        read_topics(tmp_path)
    assert "\n" not in str(raised.value)


def test_topics_that_are_not_there_are_a_sentence(tmp_path):
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(BadInput, match=rf"{folder} has no \.yaml file"):
            read_topics(folder)


def test_files_are_read_in_the_order_of_their_names(tmp_path):
    for name in ("b", "a"):
        (tmp_path / f"{name}.yaml").write_text(WHOLE.replace("[a]", f"[{name}]"))
    assert [file.topics[0].keys for file in read_topics(tmp_path)] == [("a",), ("b",)]


def test_the_default_topics_train_on_a_held_out_message_in_no_wording():
    for file in read_topics(RAW / "topics"):
        bare = file.model_copy(update={"frames": (), "words": ()})
        made = topic_lines([bare], PARAMS.encoder.copies, PARAMS.seed)
        train, held_out = ({plain(first_words(line.message, file.words)) for line in lines} for lines in made)
        assert train and held_out and not train & held_out


def test_a_key_or_message_of_the_default_topics_stands_in_one_topic_only():
    for file in read_topics(RAW / "topics"):
        for part in ("keys", "messages"):
            every = [text for topic in file.topics for text in {plain(text) for text in getattr(topic, part)}]
            assert len(every) == len(set(every))


def test_no_message_that_a_default_slice_holds_out_stands_in_the_topics():
    known = {message for file in read_topics(RAW / "topics") for message in said_by(file)}
    for name in PARAMS.timeline:
        rows = split_memories(read_raw(RAW / name).memories)
        held_out = {plain(row["message"]) for row in rows if row["split"] != "train"}
        assert held_out
        assert not held_out & known


def test_the_group_of_a_key_is_the_same_however_it_is_written():
    group_of = key_groups([TopicLine("Weather", "", "", "0/0"), TopicLine("umbrella", "", "", "0/1")],
                          [["ＷＥＡＴＨＥＲ", "Umbrella"]])  # fmt: skip
    assert group_of("weather") == group_of("UMBRELLA") == "0/0"
    assert group_of("Pet") == group_of("pet")
