"""The page in a real browser: right offsets in every script, keyboard, screen reader, both schemes, phone width."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from polyspan.server.settings import Limits, Settings
from serving import running
from tiny_models import tiny_bert

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
if BROWSER is None:
    pytest.skip("no chromium in the PATH to open the page in", allow_module_level=True)
sync_api = pytest.importorskip("playwright.sync_api")
axe = pytest.importorskip("axe_playwright_python.sync_playwright")

EMOJI = "😀 The bridge 🏔️ was opened in 1902 by 👩‍👩‍👧 Anna Keller, who paid 17 florins 💰 for the stones. 😀"
ARABIC = "افتُتح الجسر عام 1902 على يد آنا كيلر التي دفعت 17 فلورينًا ثمنًا للحجارة."
DESKTOP, PHONE = {"width": 1280, "height": 860}, {"width": 360, "height": 740}


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    model = tiny_bert(tmp_path_factory.mktemp("page") / "tiny")
    with running(Settings(model=str(model), limits=Limits(characters=50_000))) as found:
        yield found


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Any, address: str, request: pytest.FixtureRequest) -> Iterator[Any]:
    options = {"viewport": DESKTOP, "reduced_motion": "reduce", **getattr(request, "param", {})}
    context = browser.new_context(permissions=["clipboard-read", "clipboard-write"], **options)
    opened = context.new_page()
    said: list[str] = []
    opened.on("console", lambda message: said.append(message.text))
    opened.on("pageerror", lambda error: said.append(str(error)))
    opened.goto(address)
    opened.wait_for_selector("#model[data-state=ready]")
    opened.wait_for_selector("#examples button")
    yield opened
    context.close()
    assert [line for line in said if "status of 503" not in line and "status of 429" not in line] == []


def ask(page: Any, question: str, context: str) -> dict[str, Any]:
    """Ask, and give what the server said."""
    if page.locator("#edit").is_visible():
        page.click("#edit")
    page.fill("#context", context)
    page.fill("#question", question)
    with page.expect_response("**/v1/answers") as reply:
        page.keyboard.press("Enter")
    page.wait_for_selector("#passage", state="visible")
    return dict(reply.value.json())


def marked(page: Any) -> str:
    return "".join(page.locator("mark.chosen").all_text_contents())


def refuse_axe(page: Any) -> None:
    found = axe.Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


@pytest.mark.parametrize(
    "context",
    [EMOJI, ARABIC, "第一座桥😀于1902年启用。" * 9, "e\u0301a\u0323\u0301 x " * 9],
    ids=["emoji", "arabic", "chinese", "combining"],
)
def test_the_marks_are_the_answers(page: Any, context: str) -> None:
    page.select_option("#top-k", "5")
    reply = ask(page, "Who opened it?", context)
    shown = page.locator("#answers button")
    assert shown.count() == len(reply["answers"]) > 1
    assert page.locator("#passage").text_content() == context
    for at, answer in enumerate(reply["answers"]):
        shown.nth(at).click()
        assert marked(page) == answer["answer"] == context[answer["start"] : answer["end"]]
        assert shown.nth(at).get_attribute("aria-current") == "true"
        assert page.locator("#answers [aria-current]").count() == 1
        percent = shown.nth(at).locator(".score").text_content()
        assert percent in {f"{round(answer['score'] * 100)}%", "< 1%"}
        assert f"{at + 1} · {percent}" in [tag.get_attribute("data-tag") for tag in page.locator("mark.chosen").all()]


def test_the_passage_is_scrolled_to_an_answer(page: Any) -> None:
    def far_down(route: Any) -> None:
        asked = route.request.post_data_json["context"]
        start = asked.index("here it is")
        found = {"answer": "here it is", "start": start, "end": start + 10, "score": 0.9}
        route.fulfill(json={"answers": [found], "no_answer": 0.01})

    page.route("**/v1/answers", far_down)
    ask(page, "Where?", "A long way. " * 800 + "And here it is. " + "A long way. " * 800)
    for selector in ("#passage", "mark.chosen"):
        assert page.locator(selector).evaluate(
            """element => {
                const box = document.querySelector("#passage").getBoundingClientRect();
                const spot = element.getBoundingClientRect();
                return spot.top >= Math.max(0, box.top) - 1 && spot.bottom <= Math.min(innerHeight, box.bottom) + 1;
            }"""
        ), selector
    assert page.locator("#spoken").text_content() == "1 answer. The best, 90%: here it is"


@pytest.mark.parametrize("reply", [{"answers": [], "no_answer": 1.0}, None], ids=["nothing", "something"])
def test_no_answer_is_shown_as_such(page: Any, reply: dict[str, Any] | None) -> None:
    unsure = {"answers": [{"answer": "The", "start": 0, "end": 3, "score": 0.05}], "no_answer": 0.87}
    page.route("**/v1/answers", lambda route: route.fulfill(json=reply or unsure))
    ask(page, "Who?", "The bridge.")
    assert "Probably no answer in this text" in page.locator("#none").text_content()
    assert page.locator("#spoken").text_content().startswith("Probably no answer in this text")
    assert "no answer" in page.locator("#history").text_content()
    refuse_axe(page)


def test_examples_in_many_languages_are_one_click_away(page: Any) -> None:
    labels = page.locator("#examples button").all_text_contents()
    assert {"English", "العربية", "हिन्दी", "Español → Deutsch", "No answer"} <= set(labels)
    for label in ("العربية", "Tiếng Việt → 中文"):
        with page.expect_response("**/v1/answers"):
            page.locator("#examples button").nth(labels.index(label)).click()
        page.wait_for_selector("#passage", state="visible")
    assert page.locator("#passage").get_attribute("lang") == "zh"
    assert page.locator("#question").get_attribute("lang") == "vi"
    assert page.locator("#history li").count() == 2


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("The α-helix was found in 1951 by Linus Pauling.", ""),
        ("Die Brücke (橋) wurde 1902 gebaut.", ""),
        ("Η γέφυρα άνοιξε το 1902 (bridge).", "el"),
        ("東京は日本の首都です。Tokyo", "ja"),
        ("1902年，大桥通车。", "zh"),
        ("다리는 1902년에 개통되었다.", "ko"),
        ("1902 😀", ""),
    ],
)
def test_the_language_is_that_of_most_letters(page: Any, text: str, language: str) -> None:
    page.fill("#context", text)
    assert page.get_attribute("#context", "lang") == language


def test_a_copy_that_the_browser_refuses_is_not_called_done(page: Any) -> None:
    ask(page, "Who opened it?", EMOJI)
    page.evaluate("navigator.clipboard.writeText = () => Promise.reject(); document.execCommand = () => false")
    page.click("#copy-json")
    assert page.text_content("#copy-json") == "Could not copy"


def test_right_to_left_stands_on_the_right(page: Any) -> None:
    ask(page, "كم دفعت؟", ARABIC)
    edges = """selector => {
        const element = document.querySelector(selector), box = element.getBoundingClientRect();
        const range = document.createRange();
        range.setStart(element.firstChild.firstChild ?? element.firstChild, 0);
        range.setEnd(element.firstChild.firstChild ?? element.firstChild, 1);
        return (range.getBoundingClientRect().left - box.left) / box.width;
    }"""
    assert page.evaluate(edges, "#passage") > 0.9
    assert page.locator("#answers .words").first.get_attribute("dir") == "rtl"


def test_all_of_it_by_keyboard(page: Any) -> None:
    page.locator("#question").focus()
    page.keyboard.type("Who paid?")
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "context":
            break
    page.keyboard.insert_text(EMOJI)
    page.keyboard.press("Control+Enter")
    page.wait_for_selector("#answers button")
    assert page.evaluate("document.activeElement.id") == "passage"  # stands where the text stood
    seen = []
    for _ in range(40):
        page.keyboard.press("Tab")
        seen.append(page.evaluate("document.activeElement.id || document.activeElement.className"))
        if seen[-1] == "answer" and seen.count("answer") == 2:
            break
    page.keyboard.press("Enter")
    assert page.locator("#answers button").nth(1).get_attribute("aria-current") == "true"
    assert page.locator("#passage").get_attribute("tabindex") == "0"  # it scrolls


def test_enter_of_an_input_method_asks_nothing(page: Any) -> None:
    page.fill("#context", EMOJI)
    page.fill("#question", "誰が払った")
    asked = """(keyCode) => !document.querySelector("#question").dispatchEvent(
        new KeyboardEvent("keydown", { key: "Enter", keyCode, cancelable: true, bubbles: true }))"""
    assert page.evaluate(asked, 229) is False
    assert page.evaluate(asked, 13) is True


def test_history_of_this_visit(page: Any) -> None:
    first = ask(page, "Who opened it? 😀", EMOJI)
    ask(page, "كم دفعت؟", ARABIC)
    assert page.locator("#history li").count() == 2
    page.evaluate("document.querySelector('#question').lang = 'ar'")  # as an example leaves it
    page.locator("#history button").nth(1).click()
    assert page.locator("#question").input_value() == "Who opened it? 😀"
    assert page.locator("#question").get_attribute("lang") != "ar"
    assert page.locator("#passage").text_content() == EMOJI
    assert page.locator("#answers .words").first.text_content() == first["answers"][0]["answer"]
    page.click("#forget")
    assert page.locator("#history li").count() == 0
    page.click("#edit")
    page.locator("#context").press_sequentially("x")
    assert page.locator("#answers li").count() == 0  # of another text


def test_copies_can_be_used(page: Any, address: str) -> None:
    question = "Who's it? 'quoted' \"twice\" $HOME `id` \\ 😀"
    reply = ask(page, question, EMOJI)
    page.click("#copy-json")
    assert json.loads(page.evaluate("navigator.clipboard.readText()")) == {"question": question, **reply}
    page.click("#copy-curl")
    command = page.evaluate("navigator.clipboard.readText()")
    assert command.startswith(f"curl '{address}/v1/answers'")
    if shutil.which("curl"):
        assert run(command)["answers"][0]["answer"] == reply["answers"][0]["answer"]
    page.click("#copy-curl")
    sync_api.expect(page.locator("#copy-curl")).to_have_text("Copied")
    page.wait_for_timeout(1600)
    assert page.locator("#copy-curl").text_content() == "Copy as curl"  # however often it was pressed


def run(command: str) -> Any:
    """A copied command, pasted into a shell."""
    pasted = command.replace("curl ", "curl --silent ", 1)
    done = subprocess.run(["sh"], input=pasted, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return json.loads(done.stdout)


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl to run it with")
def test_a_copied_command_holds_any_text(page: Any, address: str) -> None:
    lines = "Anna's \"bridge\"\nEND\n'END'\r\nJSON\n$HOME `id` \\ \\n %s\u2028END\u2028 was opened in 1902.\n"
    asked = {"question": "Who's it?\nEND", "context": lines + 33_000 * "😀" + lines}
    assert len(asked["context"].encode()) > 128 * 1024
    command = page.evaluate("async (asked) => (await import('./page/api.js')).asCurl(asked, false)", asked)
    assert run(command) == httpx.post(f"{address}/v1/answers", json=asked, timeout=60).json()


def test_a_file_can_be_opened_or_dropped(page: Any, tmp_path: Path) -> None:
    (tmp_path / "arabic.txt").write_text(ARABIC, encoding="utf-8")
    (tmp_path / "wide.txt").write_text(EMOJI, encoding="utf-16")
    (tmp_path / "old.txt").write_bytes("Brücke".encode("latin-1"))
    for name, text in (("arabic.txt", ARABIC), ("wide.txt", EMOJI)):
        page.set_input_files("#file", tmp_path / name)
        sync_api.expect(page.locator("#context")).to_have_value(text)
    page.set_input_files("#file", tmp_path / "old.txt")
    page.wait_for_selector("#problem", state="visible")
    assert "old.txt is not a text in UTF-8" in page.locator("#problem").text_content()
    page.evaluate(
        """() => {
            const data = new DataTransfer();
            data.items.add(new File(["Dropped 😀"], "dropped.txt", { type: "text/plain" }));
            const options = { dataTransfer: data, bubbles: true, cancelable: true };
            for (const kind of ["dragover", "drop"])
                document.querySelector("#text-panel").dispatchEvent(new DragEvent(kind, options));
        }"""
    )
    sync_api.expect(page.locator("#context")).to_have_value("Dropped 😀")
    assert page.locator("#problem").is_hidden()


def test_words_moved_within_the_text_do_not_replace_it(page: Any) -> None:
    page.fill("#context", "Words are moved here and there.")
    page.locator("#context").evaluate("element => { element.focus(); element.setSelectionRange(0, 5); }")
    box = page.locator("#context").bounding_box()
    page.mouse.move(box["x"] + 35, box["y"] + 32)
    page.mouse.down()
    for step in range(1, 10):
        page.mouse.move(box["x"] + 35 + 20 * step, box["y"] + 32)
    page.mouse.up()
    moved = page.locator("#context").input_value()
    assert sorted(moved.replace(" ", "")) == sorted("Wordsaremovedhereandthere.")
    assert not moved.startswith("Words")


def test_an_answer_does_not_overwrite_a_newer_text(page: Any) -> None:
    held: list[Any] = []
    page.route("**/v1/answers", lambda route: held.append(route))
    page.fill("#context", EMOJI)
    page.fill("#question", "Who?")
    with page.expect_request("**/v1/answers"):
        page.keyboard.press("Enter")
    page.fill("#context", "A newer text.")
    held[0].continue_()
    page.wait_for_selector("#history li")
    assert page.locator("#context").input_value() == "A newer text."
    assert page.locator("#answers li").count() == 0
    page.locator("#history button").click()
    assert page.locator("#passage").text_content() == EMOJI


def test_an_answer_is_not_shown_under_another_question(page: Any) -> None:
    ask(page, "First?", EMOJI)
    held: list[Any] = []
    page.route("**/v1/answers", lambda route: held.append(route))
    page.fill("#question", "Second?")
    with page.expect_request("**/v1/answers"):
        page.keyboard.press("Enter")
    page.fill("#question", "Third?")
    held[0].continue_()
    sync_api.expect(page.locator("#history li")).to_have_count(2)
    assert page.locator("#answers li").count() == 0
    page.fill("#question", "Fourth?")
    with page.expect_request("**/v1/answers"):
        page.keyboard.press("Enter")
    page.click("#history li:last-child button")  # stops what is running
    page.wait_for_selector("#answers li")
    assert page.locator("#question").input_value() == "First?"
    assert page.locator("#history li").count() == 2


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (200, "<html>log in</html>", "The server said 200, and nothing that can be read."),
        (429, '{"message": "slow down"}', "The server said 429, and nothing that can be read."),
    ],
)
def test_a_reply_of_something_between_is_said_and_forgotten(page: Any, status: int, body: str, said: str) -> None:
    page.route("**/v1/answers", lambda route: route.fulfill(status=status, body=body))
    page.fill("#context", EMOJI)
    page.fill("#question", "Who?")
    page.keyboard.press("Enter")
    sync_api.expect(page.locator("#problem")).to_have_text(said)
    page.unroute("**/v1/answers")
    ask(page, "Who?", EMOJI)
    assert page.locator("#history li").count() == 1
    assert page.locator("#problem").is_hidden()


def test_words_that_a_script_knows_are_questions_like_others(page: Any) -> None:
    page.fill("#question", "constructor")
    assert len(page.locator("#question").get_attribute("lang")) < 10


def test_fewer_answers_than_the_page_would_ask_for(browser: Any, tmp_path: Path) -> None:
    with running(Settings(model=str(tiny_bert(tmp_path / "tiny")), limits=Limits(top_k=2))) as address:
        page = browser.new_page()
        page.goto(address)
        page.wait_for_selector("#model[data-state=ready]")
        assert page.locator("#top-k").input_value() == "1"
        ask(page, "Who?", EMOJI)
        page.close()


def test_what_is_missing_is_said(page: Any) -> None:
    page.click("#ask")
    assert page.locator("#problem").text_content() == "Write a question first."
    page.fill("#question", "Who?")
    page.click("#ask")
    assert page.locator("#problem").text_content() == "Paste a text first, or choose an example."
    assert page.evaluate("document.activeElement.id") == "context"


def test_progress_while_the_model_loads_and_a_busy_server_is_asked_again(page: Any) -> None:
    answers = iter([("loading", 503), ("overloaded", 503), (None, 200)])
    states = iter([{"status": "loading", "stage": "model", "step": 2, "steps": 4, "seconds": 7.0}, {"status": "ready"}])

    def answer(route: Any) -> None:
        code, status = next(answers)
        if code is None:
            route.continue_()
        else:
            route.fulfill(status=status, headers={"Retry-After": "1"}, json={"error": {"code": code, "message": code}})

    def ready(route: Any) -> None:
        state = next(states)
        route.fulfill(status=200 if state["status"] == "ready" else 503, json=state)

    page.evaluate(
        """() => {
            window.said = [];
            const [text, bar] = ["#work-text", "#work-bar"].map((id) => document.querySelector(id));
            const note = () => said.push(`${text.textContent} ${bar.getAttribute("value")}`);
            const all = { subtree: true, childList: true, attributes: true, characterData: true };
            new MutationObserver(note).observe(document.querySelector("#work"), all);
        }"""
    )
    page.route("**/v1/answers", answer)
    page.route("**/health/ready", ready)
    page.evaluate("document.querySelector('#examples button').click()")
    page.wait_for_selector("#answers button", timeout=10_000)
    said = page.evaluate("said")
    assert "Loading the model… 7 s 0.5" in said
    assert "Many are asking; trying again in 1 s… null" in said
    assert page.locator("#work").is_hidden()


def test_a_question_can_be_stopped(page: Any) -> None:
    page.route("**/v1/answers", lambda route: None)
    page.evaluate("document.querySelector('#examples button').click()")
    page.wait_for_selector("#work", state="visible")
    assert page.locator("#ask").text_content() == "Stop"
    page.click("#ask")
    page.wait_for_selector("#work", state="hidden")
    assert page.locator("#ask").text_content() == "Ask"
    assert page.locator("#problem").is_hidden()


@pytest.mark.parametrize(
    "page",
    [{"color_scheme": "light", "viewport": PHONE}, {"color_scheme": "dark", "viewport": DESKTOP}],
    indirect=True,
    ids=["light-phone", "dark-desktop"],
)
def test_accessible_and_within_the_width(page: Any) -> None:
    refuse_axe(page)
    ask(page, "كم دفعت؟", ARABIC + "\n" + EMOJI)
    refuse_axe(page)
    wide = "Donaudampfschifffahrtsgesellschaftskapitän" * 20
    ask(page, wide, f"{wide} {wide}")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize("page", [{"viewport": PHONE}], indirect=True, ids=["phone"])
def test_a_long_name_of_a_model_stays_within_the_width(page: Any) -> None:
    facts = httpx.get(f"{page.url}v1/models").json()
    name = facts["models"][0]["name"] = "our-own-reader-of-many-languages-and-of-very-long-names"
    page.route("**/v1/models", lambda route: route.fulfill(json=facts))
    page.reload()
    page.wait_for_selector("#model[data-state=ready]")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.locator("h1").evaluate("element => element.getBoundingClientRect().height") < 40
    assert page.locator("#model").get_attribute("title") == name


def test_nothing_comes_from_elsewhere(page: Any, address: str) -> None:
    loaded = page.evaluate("performance.getEntriesByType('resource').map(entry => entry.name)")
    assert len(loaded) >= 5
    assert all(name.startswith(address) for name in loaded)
    policy = httpx.get(address).headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


def test_a_server_with_a_key(browser: Any, tmp_path: Path) -> None:
    model = tiny_bert(tmp_path / "tiny")
    with running(Settings(model=str(model), api_key="open sesame")) as address:
        page = browser.new_page()
        page.goto(address)
        page.fill("#key", "open says me")
        page.keyboard.press("Tab")
        sync_api.expect(page.locator("#model")).to_have_text("The key is wrong")
        page.fill("#key", "open sesame\u200b")
        page.keyboard.press("Tab")
        sync_api.expect(page.locator("#model")).to_have_text("The key is wrong")
        page.fill("#key", "open sesame")
        page.keyboard.press("Tab")
        page.wait_for_selector("#model[data-state=ready]")
        ask(page, "Who?", EMOJI)
        assert page.locator("#answers button").count() == 3
        page.close()
