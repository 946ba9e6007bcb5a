"""The chat's page in a real browser, before the real server and store; only the model is a small stand-in."""

import os
import shutil
from contextlib import contextmanager
from dataclasses import replace
from threading import Event, Thread

import pytest
from playwright import sync_api as playwright

from tasks.memory.store import learn, memories_of, opened, remember
from tasks.memory.turn import MAX_MESSAGE, Means
from tasks.memory.web import UserChat, listening, web_app, web_server
from tasks.retrieval.search import Found

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
NONE = "no chromium, chromium-browser or google-chrome on this machine"
if not BROWSER and not os.environ.get("PERENNIAL_NEEDS_BROWSER"):  # CI, which installs one, may not pass them over
    pytest.skip(f"{NONE}: the page's tests", allow_module_level=True)

expect = playwright.expect
FLAGS = (  # a container's root can have no sandbox; nothing but the page is fetched
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
SCRIPT = "<script>document.title = 'stolen'</script><img src=x onerror=\"document.title = 'stolen'\">"
PHONE = {"width": 360, "height": 640}
TOKEN = "of-this-start"
SCORE = 0.87


@pytest.fixture(scope="module")
def browser():
    assert BROWSER, NONE
    with playwright.sync_playwright() as play:
        started = play.chromium.launch(executable_path=BROWSER, args=FLAGS)
        yield started
        started.close()


@pytest.fixture
def model():
    """What the model says to which message, and when: `go` is set unless a test makes it think."""
    go = Event()
    go.set()
    return {"go": go, "say": lambda message: f"You said: {message}"}


@pytest.fixture
def chat(tmp_path, model):
    def answer(contexts, weights, message):
        assert model["go"].wait(30)
        return model["say"](message)

    def find(message, texts):
        word = message.split()[0].lower()
        return [Found(place, SCORE) for place, text in enumerate(texts) if word in text.lower()]

    def find_chunks(message, texts, k):
        return [Found(0, SCORE)] if "train" in message else []

    means = Means(find, find_chunks, answer, parts={"expression": ["smile"]})
    return UserChat(means, tmp_path / "memories.db", "ann", 1000)


@contextmanager
def served(chat):
    """The real server in a thread, and its address."""
    with listening(0) as door:
        port = door.getsockname()[1]
        server = web_server(web_app(chat, "The model of 2024, with the memories of ann", port, TOKEN))
        thread = Thread(target=server.run, kwargs={"sockets": [door]})
        thread.start()
        yield f"http://127.0.0.1:{port}/#{TOKEN}"
        server.should_exit = True
        thread.join()


@pytest.fixture
def address(chat):
    with served(chat) as address:
        yield address


@pytest.fixture
def open_page(browser, address):
    """Opens the page as a new visitor; at the end no script has failed and nothing was blocked."""
    contexts, complaints = [], []

    def opened_in(size=None, at=address, **options):
        contexts.append(browser.new_context(viewport=size or {"width": 1280, "height": 800}, **options))
        page = contexts[-1].new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda line: complaints.append(line.text) if "Content Security" in line.text else None)
        page.goto(at)
        return page

    yield opened_in
    for context in contexts:
        context.close()
    assert complaints == []


def say(page, message):
    page.get_by_label("Message").fill(message)
    page.get_by_label("Message").press("Enter")


def panel(page):
    return page.get_by_role("complementary", name="What is remembered of you")


def test_an_answer_comes_with_its_memory_and_score_beside_it(chat, open_page):
    with opened(chat.store) as store:
        remember(store, "ann", "home town", "Cork")
    page = open_page()
    expect(page.get_by_text("Ask, or say something worth remembering.")).to_be_visible()
    expect(page.get_by_label("Message")).to_be_focused()
    say(page, "Town is which?")
    turn = page.get_by_role("log").locator("article")
    expect(turn).to_contain_text("You said: Town is which?")
    expect(turn.get_by_role("listitem")).to_have_text("from memoryscore 0.87home town: Cork")
    answer, note = turn.locator(".answer").bounding_box(), turn.locator(".sources").bounding_box()
    assert note["x"] >= answer["x"] + answer["width"]
    expect(page.get_by_text("Ask, or say something")).to_be_hidden()
    expect(page.get_by_label("Message")).to_have_value("")


def test_a_passage_stands_with_its_document_and_heading_and_opens_in_full(chat, open_page):
    with opened(chat.store) as store:
        learn(store, "ann", "notes.md", "d1", [("Travel", "Take the train. " * 40)])
    page = open_page()
    say(page, "By train or by car?")
    source = page.locator(".sources li")
    expect(source).to_contain_text("notes.md § Travel")
    short = source.bounding_box()["height"]
    source.get_by_role("button", name="Show all").click()
    assert source.bounding_box()["height"] > short


def test_an_instruction_is_told_apart_from_the_answer(model, open_page):
    model["say"] = lambda message: "[expression: smile] Hello."
    page = open_page()
    say(page, "Hi.")
    turn = page.get_by_role("log").locator("article")
    expect(turn.locator(".answer")).to_have_text("Hello.")
    expect(turn.get_by_role("listitem").filter(has_text="expression")).to_contain_text("smile")


def test_what_was_saved_is_said_and_appears_in_the_panel(model, open_page):
    model["say"] = lambda message: "[pet: 고양이] 이름이 뭐예요?"
    page = open_page()
    expect(panel(page)).to_contain_text("Nothing is remembered yet.")
    say(page, "나는 고양이를 키워요.")
    turn = page.get_by_role("log").locator("article")
    expect(turn).to_contain_text("이름이 뭐예요?")
    expect(turn.get_by_role("listitem").filter(has_text="remembered")).to_contain_text("pet: 고양이")
    expect(panel(page).get_by_role("listitem")).to_contain_text(["고양이"])


def test_a_memory_is_pinned_and_then_deleted_for_good_but_only_when_confirmed(chat, open_page):
    with opened(chat.store) as store:
        remember(store, "ann", "home town", "Cork")
    page = open_page()
    panel(page).get_by_role("button", name="Pin home town").click()
    expect(panel(page)).to_contain_text("pinned")
    expect(page.get_by_role("button", name="Unpin home town")).to_be_focused()
    panel(page).get_by_role("button", name="Delete home town").click()
    expect(page.get_by_role("button", name="Keep home town")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Delete home town", exact=True)).to_be_focused()
    page.get_by_role("button", name="Delete home town").click()
    page.get_by_role("button", name="Delete home town for good").click()
    expect(panel(page)).to_contain_text("home town is forgotten.")
    expect(panel(page).get_by_role("listitem")).to_have_count(0)
    with opened(chat.store) as store:
        assert memories_of(store, "ann") == []


def test_a_document_is_deleted_in_the_panel(chat, open_page):
    with opened(chat.store) as store:
        learn(store, "ann", "notes.md", "d1", [("Travel", "By train."), ("Food", "No nuts.")])
    page = open_page()
    panel(page).get_by_role("button", name="Delete notes.md").click()
    panel(page).get_by_role("button", name="Delete notes.md for good").click()
    expect(panel(page)).not_to_contain_text("2 passages")


def test_markup_anywhere_is_shown_as_text_and_runs_nowhere(chat, model, open_page):
    with opened(chat.store) as store:
        remember(store, "ann", f"script {SCRIPT}", SCRIPT)
        learn(store, "ann", f"{SCRIPT}.md", "d1", [(SCRIPT, SCRIPT)])
    model["say"] = lambda message: f"[pet: {SCRIPT}] {SCRIPT}"
    page = open_page()
    say(page, f"script {SCRIPT}")
    expect(page.locator(".said")).to_contain_text(SCRIPT)
    expect(page.locator(".answer")).to_have_text(SCRIPT)
    expect(page.locator(".passage")).to_contain_text(SCRIPT)
    say(page, "<b>train</b>")
    expect(page.locator(".from").last).to_contain_text("<script>")
    expect(panel(page).get_by_role("listitem")).to_have_count(3)
    expect(panel(page).get_by_role("listitem").first).to_contain_text("<script>")
    assert page.locator("body script, body img, body b:not(.key b)").count() == 0
    expect(page).to_have_title("Perennial")


def test_the_page_refuses_markup_even_from_its_own_script(browser, address):
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(address)
        with pytest.raises(playwright.Error, match="TrustedHTML"):
            page.evaluate("document.body.innerHTML = '<img src=x onerror=alert(1)>'")


def test_while_it_thinks_the_page_says_so_and_takes_no_second_message(model, open_page):
    model["go"].clear()
    page = open_page()
    say(page, "First")
    expect(page.get_by_text("Thinking")).to_be_visible()
    expect(page.get_by_role("button", name="Send")).to_have_attribute("aria-disabled", "true")
    say(page, "Second")
    model["go"].set()
    expect(page.locator(".answer")).to_have_text("You said: First")
    expect(page.get_by_text("Thinking")).to_have_count(0)
    expect(page.get_by_label("Message")).to_have_value("Second")
    page.get_by_role("button", name="Send").click()
    expect(page.locator(".answer")).to_have_text(["You said: First", "You said: Second"])
    expect(page.get_by_label("Message")).to_be_focused()


def test_enter_sends_but_not_with_shift_and_not_inside_a_hangul_syllable(open_page):
    page = open_page()
    box = page.get_by_label("Message")
    box.fill("one")
    box.press("Shift+Enter")
    box.press_sequentially("two")
    expect(box).to_have_value("one\ntwo")
    composing = {"key": "Enter", "isComposing": True, "bubbles": True, "cancelable": True}
    page.evaluate("options => the('message').dispatchEvent(new KeyboardEvent('keydown', options))", composing)
    expect(page.locator("article")).to_have_count(0)
    box.press("Enter")
    expect(page.locator("article")).to_have_count(1)


def test_a_message_that_is_too_long_stays_and_says_by_how_much(open_page):
    page = open_page()
    say(page, "각" * (MAX_MESSAGE + 1))
    expect(page.get_by_role("status").first).to_have_text(
        f"A message has at most {MAX_MESSAGE} characters; this one has {MAX_MESSAGE + 1}."
    )
    expect(page.get_by_label("Message")).to_have_value("각" * (MAX_MESSAGE + 1))
    expect(page.locator("article")).to_have_count(0)


def test_a_failed_turn_is_a_sentence_and_the_message_can_be_sent_again(model, open_page):
    page = open_page()
    well, model["say"] = model["say"], lambda message: 1 / 0
    say(page, "Hello")
    expect(page.locator(".answer")).to_contain_text("Perennial failed at this (ZeroDivisionError).")
    expect(page.get_by_label("Message")).to_have_value("Hello")
    model["say"] = well
    page.get_by_label("Message").press("Enter")
    expect(page.locator(".answer").last).to_have_text("You said: Hello")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_scrolls_only_downwards_and_has_the_panel_behind_a_button(chat, open_page, scheme):
    with opened(chat.store) as store:
        remember(store, "ann", "long word", "a" * 150)
        learn(store, "ann", f"{'long-name' * 8}.md", "d1", [("Heading", "train" * 60)])
    page = open_page(PHONE, color_scheme=scheme)
    say(page, f"long {'word' * 60}")
    expect(page.locator(".answer")).to_be_visible()
    say(page, "train")
    expect(page.locator(".answer")).to_have_count(2)
    button = page.get_by_role("button", name="Memory (1)")
    for opens in (False, True):
        if opens:
            button.click()
        expect(panel(page)).to_be_visible(visible=opens)
        for part in ("html", "#turns", "#panel"):
            assert page.locator(part).evaluate("each => each.scrollWidth <= each.clientWidth"), part
    page.keyboard.press("Escape")
    expect(panel(page)).to_be_hidden()
    expect(button).to_be_focused()


def test_without_the_whole_address_nothing_is_shown_until_it_is_opened(chat, address, open_page):
    with opened(chat.store) as store:
        remember(store, "ann", "home town", "Cork")
    page = open_page(at=address.split("#")[0])
    expect(page.locator("#notice")).to_contain_text("Open the one that the terminal shows now.")
    say(page, "Hello")
    expect(page.locator(".answer")).to_contain_text("Open the one that the terminal shows now.")
    expect(panel(page).get_by_role("listitem")).to_have_count(0)
    page.goto(address)
    expect(panel(page).get_by_role("listitem")).to_contain_text(["Cork"])


def test_another_page_of_this_machine_can_neither_ask_nor_read(browser, address, chat, tmp_path):
    with opened(chat.store) as store:
        remember(store, "ann", "home town", "Cork")
    other = replace(chat, store=tmp_path / "other.db")
    # the other page's own policy is no help
    with served(other) as elsewhere, browser.new_context(bypass_csp=True) as context:
        page = context.new_page()
        page.goto(elsewhere)
        for path, options in (("/", {}), ("/api/memories", {}), ("/api/memories/forget", {"method": "POST"})):
            script = "([url, options]) => fetch(url, options).then(() => 'read', () => 'refused')"
            assert page.evaluate(script, [address.split("/#")[0] + path, options]) == "refused"
    with opened(chat.store) as store:
        assert len(memories_of(store, "ann")) == 1
