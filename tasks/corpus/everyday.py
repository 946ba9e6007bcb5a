"""Questions as people type them: greeted, thanked for, in lower case, with a typo, a word out of its place.

A model that was trained on clean templates alone has learnt their first and last words, too: a "Thanks!" behind a
question that it knows, and it answers something else. So some of the training questions are varied; and the test set
`everyday` asks what that is worth, in other frames and wordings than those that are trained on.
"""

from collections.abc import Callable, Collection, Sequence
from itertools import pairwise
from random import Random
from typing import Annotated, NamedTuple

from pydantic import AfterValidator

from tasks.corpus.text import entering
from tasks.sections import Section

QUESTION, SUBJECT = "{question}", "{subject}"
HANGUL = range(0xAC00, 0xD7A4)  # syllables, ordered by first consonant, vowel, last consonant
LAST_CONSONANTS = 28
FREQUENT = (0, 1, 4, 8, 16, 17, 19, 21)  # of these: none, ㄱ, ㄴ, ㄹ, ㅁ, ㅂ, ㅅ, ㅇ
CHANGES = {  # of a training question that is varied, and how often each
    "framed": 0.4, "typo": 0.2, "lower_case": 0.2, "padded": 0.1, "shortened": 0.06, "word_order": 0.02,
    "punctuation": 0.02,
}  # fmt: skip
TWICE = 0.4  # of the training questions that are varied are so in two ways
MARKS = ".?!"


def _frames(frame: str) -> str:
    if frame.count(QUESTION) != 1:
        raise ValueError(f"'{frame}' must contain {QUESTION} once")
    return frame


Frame = Annotated[str, AfterValidator(entering), AfterValidator(_frames)]


class Frames(Section):
    """What people say around a question, in one language: `training` is trained on, the others are in tests only."""

    training: tuple[Frame, ...] = ()
    greeting: tuple[Frame, ...] = ()
    politeness: tuple[Frame, ...] = ()


class Manner(NamedTuple):
    """How the questions of a language may be varied: frames to put around them, words that may be missing.

    The spare words are those that do not tell what is asked for.
    """

    frames: Sequence[Frame] = ()
    spare: Sequence[str] = ()


def varied(question: str, manner: Manner, random: Random) -> str:
    """The question as somebody might type it: within other words, in lower case, with a slip; often two of these."""
    change: dict[str, Callable[[str], str]] = {
        "framed": lambda text: framed(text, any_frame(manner.frames, random), random),
        "padded": lambda text: padded(text, manner.frames, random),
        "typo": lambda text: typo(text, random),
        "lower_case": str.lower,
        "shortened": lambda text: shortened(text, manner.spare, random),
        "word_order": lambda text: swapped(text, random),
        "punctuation": lambda text: other_marks(text, random),
    }
    idle = set() if manner.frames else {"framed", "padded"}
    idle |= set() if question != question.lower() else {"lower_case"}
    kinds = [kind for kind in change if kind not in idle]
    chosen = random.choices(kinds, [CHANGES[kind] for kind in kinds], k=1 + (random.random() < TWICE))
    for kind in dict.fromkeys(chosen):
        question = change[kind](question)
    return question


def everyday(template: str, wordings: tuple[str, ...], subject: str, frames: Frames, random: Random) -> tuple[str, str]:
    """One question of the test set: its kind, one of those that the language has, and the text.

    Args:
        template: of the question as it is trained on.
        wordings: templates of the same question, that nothing is trained on.
        subject: what is asked about.
        frames: of the language.
        random: chooses.
    """
    question = template.replace(SUBJECT, subject)
    kinds = ["punctuation"] + [name for name in ("greeting", "politeness") if getattr(frames, name)]
    kinds += ["lower_case"] * (question != question.lower()) + ["typo"] * any(map(str.isalpha, question))
    kinds += ["word_order"] * bool(_unlike_neighbours(template.split(" "))) + ["wording"] * bool(wordings)
    kind = random.choice(kinds)
    if kind == "word_order":
        return kind, swapped(template, random).replace(SUBJECT, subject)
    if kind == "lower_case":
        return kind, question.lower()
    if kind == "punctuation":
        return kind, other_marks(question, random)
    if kind == "typo":
        return kind, typo(question, random)
    if kind == "wording":
        return kind, random.choice(wordings).replace(SUBJECT, subject)
    return kind, framed(question, random.choice(getattr(frames, kind)), random)


def framed(question: str, frame: Frame, random: Random) -> str:
    """The question within a frame; behind other words its first letter is small half of the time."""
    if not frame.startswith(QUESTION) and random.random() < 0.5:
        question = question[:1].lower() + question[1:]
    return frame.replace(QUESTION, question)


def any_frame(frames: Sequence[Frame], random: Random) -> Frame:
    """One of the frames, half of the time with other words."""
    frame = random.choice(frames)
    return scrambled(frame, frames, random) if random.random() < 0.5 else frame


def scrambled(frame: Frame, frames: Sequence[Frame], random: Random) -> Frame:
    """A frame with any words in place of its own: what stands around a question may be anything at all."""
    return " ".join(word if QUESTION in word else any_word(frames, random) for word in frame.split(" "))


def any_word(frames: Sequence[Frame], random: Random) -> str:
    """A word of a frame, or one that is made up of the beginnings and ends of two."""
    words = [word for frame in random.choices(frames, k=2) for word in frame.split(" ") if QUESTION not in word]
    word, other = random.choices(words or ["so"], k=2)
    if random.random() < 0.5:
        return word
    return word[: random.randint(1, 3)] + other[-random.randint(1, 4) :]


def padded(text: str, frames: Sequence[Frame], random: Random) -> str:
    """One or two words more, anywhere between the others."""
    words = text.split(" ")
    for _ in range(random.randint(1, 2)):
        words.insert(random.randint(0, len(words)), any_word(frames, random))
    return " ".join(words)


def other_marks(question: str, random: Random) -> str:
    """Other marks at the end than the question has, or none."""
    bare = question.rstrip(MARKS)
    return bare + random.choice([marks for marks in ("", "", "?", "??", "...", "!", " ?") if bare + marks != question])


def typo(text: str, random: Random) -> str:
    """One slip in a word of letters: of two letters in the wrong order, one missing, doubled or another one."""
    places = [place for place, letter in enumerate(text) if letter.isalpha()]
    if not places:
        return text
    place = random.choice(places)
    letter, rest = text[place], text[place + 1 :]
    if ord(letter) in HANGUL:
        wrong = _other_syllable(letter, random)
    else:
        behind = rest[:1] if rest[:1].isalpha() and rest[:1] != letter else ""
        wrong = random.choice([behind + letter, "", letter * 2] if behind else ["", letter * 2])
        rest = rest[1:] if behind and wrong == behind + letter else rest
    return text[:place] + wrong + rest


def _other_syllable(syllable: str, random: Random) -> str:
    """A syllable with another last consonant, or none: the slip of one finger."""
    first, last = divmod(ord(syllable) - HANGUL.start, LAST_CONSONANTS)
    other = random.choice([consonant for consonant in FREQUENT if consonant != last])
    return chr(HANGUL.start + first * LAST_CONSONANTS + other)


def swapped(text: str, random: Random) -> str:
    """Two neighbouring words in the other order."""
    words = text.split(" ")
    if places := _unlike_neighbours(words):
        place = random.choice(places)
        words[place], words[place + 1] = words[place + 1], words[place]
    return " ".join(words)


def _unlike_neighbours(words: list[str]) -> list[int]:
    """Where a word of a text of three or more is followed by another one."""
    return [place for place, (one, other) in enumerate(pairwise(words)) if one != other] if len(words) > 2 else []


def shortened(text: str, spare: Collection[str], random: Random) -> str:
    """Without some of the words that may be missing, half of them on average."""
    return " ".join(word for word in text.split(" ") if word not in spare or random.random() < 0.5)
