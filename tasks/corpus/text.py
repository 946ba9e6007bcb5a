"""The one normal form of every text that enters, and the one form in which keys are compared.

Text that looks the same becomes the same: composed letters (NFC), one kind of space and of line end, nothing that is
not seen. What joins or parts letters stays where it changes what is seen: in emoji, after a virama, between Arabic
letters (docs/decisions/010-one-form-of-text.md). Letters of another width or case look different, and stay; only as
keys of memories they are the same.
"""

import os
import unicodedata

import regex

# The template's markers (tasks/lm/template.py), here because no text that enters may hold them.
ANSWER_START = "(답변)"
ANSWER_MARKER = "(답변 종료)"
SPECIAL = r"<\|[^<>|\s]{1,40}\|>"  # a special token of most tokenizers: <|endoftext|>, <|im_start|>
ENDS = regex.compile(
    "|".join(
        [*(r"[ \t\n]+".join(map(regex.escape, each.split(" "))) for each in (ANSWER_START, ANSWER_MARKER)), SPECIAL]
    )
)
MAX_CHARACTERS = 20_000  # of one text: a slice is rows, not books
SHOWN = 60  # characters of a text in a sentence

# More marks on one letter than the Stream-Safe Text Format allows (UAX 15, section 13); sorting them takes n^2 steps.
TOO_MANY_MARKS = regex.compile(r"(\p{M}{30})\p{M}+")
LINE_END = regex.compile(r"\r\n?|[\x85\u2028\u2029]")
SPACE = regex.compile(r"[\p{Zs}\u2800\u3164\uffa0]")  # the last three are letters and a symbol that are seen as a space

JOINERS, SELECTORS, MONGOLIAN = r"\u200c\u200d", r"\ufe0e\ufe0f", r"\u180b-\u180f"
TAGS = r"\U000e0061-\U000e007f"
HYPHEN = regex.compile("[\u2010\u2011]")  # seen as the one of keyboards; dashes and the minus sign are longer
UNSEEN = regex.compile(rf"(?V1)[[\p{{DI}}\ufff9-\ufffb]--[{JOINERS}{SELECTORS}{MONGOLIAN}{TAGS}]]")
SEVERAL_JOINERS = regex.compile(rf"([{JOINERS}])[{JOINERS}]+")

PICTURE = r"\p{Extended_Pictographic}"
BEFORE = r"(?<=[\p{jt=D}\p{jt=L}]\p{jt=T}*)"  # a letter that joins the next one
AFTER = r"(?=\p{jt=T}*[\p{jt=D}\p{jt=R}])"  # a letter that joins the one before
MEANT = "|".join(
    (
        rf"(?<={PICTURE}[\ufe0f\U0001f3fb-\U0001f3ff]?)\u200d(?={PICTURE})",  # families, professions
        rf"(?<={PICTURE})[{SELECTORS}]|(?<=[0-9#*])\ufe0f(?=\u20e3)",  # a heart in red, keys
        *(rf"(?<=\U0001f3f4){''.join(chr(0xE0000 + ord(each)) for each in flag)}\U000e007f"
          for flag in ("gbeng", "gbsct", "gbwls")),
        rf"(?<=\p{{ccc=9}})[{JOINERS}]|\u200d(?=\p{{ccc=9}})",  # Indic letters that keep or lose their own shape
        rf"{BEFORE}\u200c{AFTER}",  # RFC 5892, appendix A.1: parted where they would join
        rf"{BEFORE}\u200d(?!\p{{jt=T}}*[\p{{jt=D}}\p{{jt=R}}])|(?<![\p{{jt=D}}\p{{jt=L}}]\p{{jt=T}}*)\u200d{AFTER}",
        rf"(?<=\p{{Script=Mongolian}})[{MONGOLIAN}]",
    )
)  # fmt: skip
NOT_MEANT = regex.compile(rf"(?=[{JOINERS}{SELECTORS}{MONGOLIAN}{TAGS}])(?:(?:{MEANT})(*SKIP)(*FAIL)|.)")
PLAIN = regex.compile(r"(?V1)[\t\n[^\p{Cc}\p{Zs}\p{DI}\u2010\u2011\u2028\u2029\u2800\ufff9-\ufffb]\x20]*")
CONTROL = regex.compile(r"(?V1)[\p{Cc}--[\t\n]]")
BLANKS = regex.compile(r"[ \t\n]+")
NO_CHARACTER = regex.compile(r"\p{Noncharacter_Code_Point}")
HALF = regex.compile(r"\p{Cs}")


def normal(text: str) -> str:
    """The text in its normal form, without blanks around it; a text in normal form is left as it is."""
    while not (PLAIN.fullmatch(text) and unicodedata.is_normalized("NFC", text) and not TOO_MANY_MARKS.search(text)):
        before = text
        text = LINE_END.sub("\n", TOO_MANY_MARKS.sub(r"\1", text))
        text = SEVERAL_JOINERS.sub(r"\1", UNSEEN.sub("", SPACE.sub(" ", HYPHEN.sub("-", text))))
        text = NOT_MEANT.sub("", unicodedata.normalize("NFC", text))
        if text == before:  # what is taken out can bring other characters together, so once is not enough
            break
    return text.strip(" \t\n")


def one_line(text: str) -> str:
    """The normal form of a name, a key or a value: one line, no blank beside another."""
    return BLANKS.sub(" ", normal(text))


def folded(key: str) -> str:
    """The form in which keys are compared: the same for all cases, widths and forms of a key.

    The compatibility caseless match of The Unicode Standard, section 3.13, definition D146.
    """
    form = one_line(key)
    while True:
        before = form
        for _ in range(2):
            form = unicodedata.normalize("NFKD", form).casefold()
        form = one_line(unicodedata.normalize("NFKC", form))
        if form == before:  # a letter that is taken apart can bring an unseen one with it
            return form


def unfit(text: str) -> str | None:
    """Why a text can't be used, as the end of a sentence; None if it can."""
    if len(text) > MAX_CHARACTERS:
        return f"is longer than {MAX_CHARACTERS} characters."
    if reason := unreadable(text):
        return reason
    if found := ENDS.search(text):
        end = shown(found[0])
        return f"contains '{end}', which a model reads as the end of a text or an answer. Write it otherwise."
    return None


def unreadable(text: str) -> str | None:
    """Why a text can't be shown, as the end of a sentence; None if it can."""
    if HALF.search(text):
        return "contains half of a character (a lone surrogate). Write the whole character, or remove it."
    if found := CONTROL.search(text):
        return f"contains the control character {_number(found[0])}. Remove it."
    if found := NO_CHARACTER.search(text):
        return f"contains {_number(found[0])}, which is no character. Remove it."
    return None


def shown(text: str) -> str:
    """A text as a sentence quotes it: one line, and not long."""
    text = BLANKS.sub(" ", text[: 2 * SHOWN]).encode(errors="backslashreplace").decode()
    return text if len(text) <= SHOWN else text[: SHOWN - 3] + "..."


def entering(text: str) -> str:
    """The normal form of a text that a YAML file brings.

    Raises:
        ValueError: it can't be used.
    """
    text = normal(text)
    if reason := unfit(text):
        raise ValueError(f"'{shown(text)}' {reason.removesuffix('.')}")
    return text


def entering_name(text: str) -> str:
    """The normal form of a name that a YAML file brings: one line, and not empty.

    Raises:
        ValueError: it can't be used.
    """
    text = one_line(entering(text))
    if not text:
        raise ValueError("a name is empty")
    return text


def typed(text: str) -> str:
    """The normal form of a command's argument or of a file's name: one line; bytes that are no UTF-8 become U+FFFD."""
    return one_line(os.fsencode(text).decode("utf-8", "replace"))


def _number(character: str) -> str:
    return f"U+{ord(character):04X}"
