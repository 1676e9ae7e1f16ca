"""The report in a real browser: heat maps, examples in every script, keyboard, screen reader, phone, dark, print."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from polyspan.analysis.report import write_report
from polyspan.analysis.runs import read_runs
from polyspan.analysis.study import group_runs
from report_runs import write_evaluation, write_mlqa, write_training

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
if BROWSER is None:
    pytest.skip("no chromium in the PATH to open the page in", allow_module_level=True)
sync_api = pytest.importorskip("playwright.sync_api")
axe = pytest.importorskip("axe_playwright_python.sync_playwright")

DESKTOP, PHONE = {"width": 1280, "height": 860}, {"width": 360, "height": 740}


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    home = tmp_path_factory.mktemp("report")
    data = write_mlqa(home / "mlqa" / "dev")
    before = write_evaluation(home / "before", data, lambda pair: 2 if pair.question_language == "de" else 1)
    after = write_training(write_evaluation(home / "after", data, lambda pair: int(pair.id != "q5")))
    other = write_evaluation(home / "other", data, lambda pair: int(pair.id != "q3"))
    groups = group_runs(read_runs([before, after, other]), draws=200)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("polyspan.analysis.report._draw_matrices", lambda *_: None)
        return write_report(groups, home / "out")[0].as_uri()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Any, address: str, request: pytest.FixtureRequest) -> Iterator[Any]:
    options = {"viewport": DESKTOP, "reduced_motion": "reduce", "offline": True, **getattr(request, "param", {})}
    context = browser.new_context(**options)
    opened = context.new_page()
    said: list[str] = []
    opened.on("console", lambda message: said.append(message.text))
    opened.on("pageerror", lambda error: said.append(str(error)))
    opened.on("request", lambda asked: said.append(asked.url) if not asked.url.startswith("file:") else None)
    opened.goto(address)
    yield opened
    context.close()
    assert said == []


def cell(page: Any, question: str, context: str) -> Any:
    return page.locator(f"table.heat button[data-question={question}][data-context={context}]:visible")


def test_a_cell_tells_its_numbers_and_leads_to_its_examples(page: Any) -> None:
    assert page.locator("#tip").is_hidden()
    cell(page, "de", "ar").hover()
    assert page.locator("#tip").inner_text().startswith("Question in German, text in Arabic\n6 questions\nF1 ")
    page.keyboard.press("Escape")
    assert page.locator("#tip").is_hidden()
    cell(page, "de", "ar").focus()
    assert page.locator("#tip").is_visible()
    page.keyboard.press("Enter")
    assert page.input_value("#pick-question") == "de"
    assert page.input_value("#pick-context") == "ar"
    assert page.inner_text("#example-count") == "6 examples"
    assert page.evaluate("document.activeElement.id") == "examples-heading"
    box = page.locator("#example-detail .question").bounding_box()
    assert 0 < box["y"] < DESKTOP["height"]


def test_an_example_has_an_address_that_can_be_sent_and_come_back_to(page: Any) -> None:
    cell(page, "de", "ar").scroll_into_view_if_needed()
    before = page.evaluate("scrollY")
    cell(page, "de", "ar").click()
    page.locator("#example-list button").nth(2).click()
    question = page.locator("#example-detail .question").inner_text()
    address = page.evaluate("location.hash")
    assert "question=de&context=ar&example=" in address
    other = page.context.new_page()
    other.goto(page.url)
    assert other.locator("#example-detail .question").inner_text() == question
    assert other.input_value("#pick-context") == "ar"
    assert other.evaluate("document.activeElement.id") == "examples-heading"
    other.goto(page.url.partition("#")[0] + "#group=7&run=x&question=<b>")
    assert other.locator("#example-detail .question").is_visible()
    page.go_back()
    page.wait_for_function("location.hash === ''")
    page.wait_for_function(f"Math.abs(scrollY - {before}) < 2")


def test_nothing_is_written_where_there_is_nothing(page: Any) -> None:
    page.locator("#pick-question").select_option("en")
    assert page.locator("#example-detail .question").get_attribute("lang") == "en"
    own = "node => [...node.childNodes].filter(part => part.nodeType === Node.TEXT_NODE).map(part => part.data)"
    assert page.locator("#example-detail").evaluate(own) == []


@pytest.mark.parametrize("page", [{"viewport": PHONE, "has_touch": True}], indirect=True)
def test_a_touch_tells_the_numbers_and_a_second_leads_to_the_examples(page: Any) -> None:
    chosen = cell(page, "de", "ar")
    chosen.scroll_into_view_if_needed()
    page.wait_for_timeout(100)
    chosen.tap()
    assert page.locator("#tip").inner_text().startswith("Question in German, text in Arabic")
    assert page.evaluate("location.hash") == ""
    chosen.tap()
    assert page.input_value("#pick-context") == "ar"
    assert page.evaluate("document.activeElement.id") == "examples-heading"


def test_differences_can_be_chosen(page: Any) -> None:
    chooser = page.locator("[data-shows=heat-0] select").first
    chooser.select_option(label="after minus before")
    cell(page, "de", "de").hover()
    told = page.locator("#tip").inner_text()
    assert "after Holm" in told
    assert "(0.0 to 83.3)" in told.splitlines()[2] or " to " in told.splitlines()[2]
    assert page.locator(".heat-panel:visible").count() == 1


def test_an_example_shows_gold_and_answer_in_every_language(page: Any) -> None:
    cell(page, "de", "ar").click()
    detail = page.locator("#example-detail")
    assert detail.locator(".question").get_attribute("dir") == "ltr"
    context = detail.locator("> .context")
    assert (context.get_attribute("lang"), context.get_attribute("dir")) == ("ar", "rtl")
    assert context.evaluate("node => getComputedStyle(node).textAlign") == "right"
    said = context.locator("mark").evaluate_all(
        "marks => marks.map(mark => [mark.className, mark.lastChild.textContent])"
    )
    assert ["both", "آنا كيلر"] in said
    side = detail.locator(".side article")
    assert side.count() == 3
    assert side.evaluate_all("all => all.map(one => one.querySelector('.context').lang)") == ["ar", "de", "en"]
    for number in range(3):
        marks = side.nth(number).locator("mark")
        assert marks.count() >= 1
        assert marks.first.evaluate("mark => mark.lastChild.textContent") in {"آنا كيلر", "Anna Keller"}
    assert detail.locator("table.heat button").count() == 9
    detail.locator("table.heat button").first.click()
    assert "Question in Arabic, text in Arabic" in detail.inner_text()


def test_examples_are_filtered_and_searched(page: Any) -> None:
    page.select_option("#pick-run", label="after")
    page.select_option("#pick-outcome", "right")
    # Of the last question the English texts' answers are exact too: one word more is "&", which does not count.
    assert page.inner_text("#example-count") == "48 examples"
    page.select_option("#pick-outcome", "")
    page.fill("#pick-search", "bezahlte Brücke 3")
    sync_api.expect(page.locator("#example-count")).to_have_text("3 examples")
    assert page.locator("#example-list [lang=de]").count() == 3
    page.fill("#pick-search", "nothing like it")
    sync_api.expect(page.locator("#example-count")).to_have_text("0 examples")
    assert "No example is left" in page.inner_text("#example-detail")


@pytest.mark.parametrize(
    "page",
    [{}, {"color_scheme": "dark"}, {"viewport": PHONE}, {"viewport": PHONE, "color_scheme": "dark"}],
    ids=["desktop", "dark", "phone", "phone, dark"],
    indirect=True,
)
def test_nothing_sticks_out_and_axe_finds_nothing(page: Any) -> None:
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    found = axe.Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
    assert [
        f"{one['id']} {node['target']} {node['failureSummary'][:160]}" for one in found for node in one["nodes"]
    ] == []


def test_texts_in_figures_can_be_read_in_the_dark(browser: Any, address: str) -> None:
    context = browser.new_context(color_scheme="dark", viewport=DESKTOP)
    page = context.new_page()
    page.goto(address)
    colours = page.evaluate(
        "[...document.querySelectorAll('figure svg text')].map(text => getComputedStyle(text).fill)"
    )
    context.close()
    assert len(colours) > 10
    assert not {"rgb(0, 0, 0)", "rgb(34, 34, 34)"} & set(colours)


def test_it_prints_on_white_without_what_only_a_screen_can_do(page: Any) -> None:
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    for gone in ("nav.contents", "#example-list", ".controls"):
        assert page.locator(gone).first.is_hidden()
    assert page.pdf(format="A4").startswith(b"%PDF")


def test_without_javascript_all_tables_are_there(browser: Any, address: str) -> None:
    context = browser.new_context(java_script_enabled=False, viewport=DESKTOP)
    page = context.new_page()
    page.goto(address)
    assert page.locator("table.heat:visible").count() == 10
    assert page.locator("table.data:visible").count() >= 4
    assert "needs JavaScript" in page.inner_text("#examples")
    context.close()
