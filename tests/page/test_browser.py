"""The page played through in Chromium: every verdict, bad files, a folder, the keyboard, no other host, no network."""

import io
import os
import shutil
import socket
import tempfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

CHROMIUM = os.environ.get("CHEXKERAS_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
SLOW_MS = 180_000

pytestmark = [pytest.mark.keras, pytest.mark.browser, pytest.mark.skipif(not CHROMIUM, reason="no Chromium here")]


HOSTILE = """<!DOCTYPE html><html><head><title>card</title></head><body><h1>A card</h1>
<script>parent.document.title = "taken over"; document.body.append("ran")</script>
<img src="{elsewhere}spy.png" onerror="document.body.append('ran')"><link rel="stylesheet" href="{elsewhere}spy.css">
<iframe src="{elsewhere}"></iframe><a href="{elsewhere}" target="_top">out</a></body></html>"""


@pytest.fixture(scope="module")
def elsewhere():
    """Another server of this machine, which nobody should reach."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        listening.setblocking(False)
        yield listening


@pytest.fixture(scope="module")
def make_server(toy_run, scorer, films, elsewhere):
    """Makes the toy run's page, with itself as another experiment; scorer and films are those of other tests."""
    from chexkeras.page.document import PageDocument
    from chexkeras.page.server import PageServer

    document = PageDocument.of(toy_run, [toy_run])
    hostile = HOSTILE.format(elsewhere=f"http://127.0.0.1:{elsewhere.getsockname()[1]}/")
    reports = {"report": "<!DOCTYPE html><title>r</title><h1>A report</h1>", "model-card": hostile}
    return lambda **further: PageServer(document, scorer, reports=lambda: reports, examples=films, **further)


def serve(server):
    pytest.importorskip("uvicorn")
    from chexkeras.page.serve import ServedPage, uvicorn_server

    class Kept:
        """What closes with the page; the scorer itself is the session's."""

        def close(self):
            pass

    bound = socket.socket()
    bound.bind(("127.0.0.1", 0))
    address = f"http://127.0.0.1:{bound.getsockname()[1]}/"
    return ServedPage(uvicorn_server(server), Kept(), address, bound).start()


@pytest.fixture(scope="module")
def served(make_server):
    """The page at a free port."""
    with serve(make_server()) as page:
        yield page


@pytest.fixture(scope="module")
def chromium():
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        # Nothing but this machine is reachable: whatever else is asked for fails, and is counted below.
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--disable-gpu"],
        )
        yield browser
        browser.close()


@pytest.fixture
def page(chromium, served):
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    opened = context.new_page()
    opened.set_default_timeout(SLOW_MS)
    opened.asked, opened.wrong = [], []
    opened.on("request", lambda request: opened.asked.append(request.url))
    opened.on("console", lambda said: opened.wrong.append(said.text) if said.type == "error" else None)
    opened.on("pageerror", lambda error: opened.wrong.append(str(error)))
    opened.goto(served.url)
    opened.wait_for_selector("body[data-ready]")
    yield opened
    foreign = [url for url in opened.asked if not url.startswith((served.url, "data:", "blob:"))]
    assert foreign == []
    assert opened.wrong == []
    context.close()


ANSWERED = (
    "document.getElementById('film-status').textContent.startsWith('Answered')"
    " || !document.getElementById('film-error').hidden"
)


def until(page, expression, argument=None):
    """Waits for something in the page; the page's policy forbids `wait_for_function`, which evaluates text there."""
    for _ in range(SLOW_MS // 100):
        if page.evaluate(expression, argument):
            return
        page.wait_for_timeout(100)
    raise AssertionError(f"{expression} did not come true")


def upload(page, name, content):
    page.set_input_files("#film-file", {"name": name, "mimeType": "application/octet-stream", "buffer": content})
    until(page, ANSWERED)


def png(image):
    held = io.BytesIO()
    image.save(held, "PNG")
    return held.getvalue()


def test_a_picture_of_something_else_is_told_as_far_from_the_training_images(page, toy):
    told = "What was measured on the test images need not hold for this film."
    # Larger, since the gate refuses films of so few pixels.
    upload(page, "own.png", png(Image.open(toy["path"][0]).resize((512, 512), Image.Resampling.BICUBIC)))
    shown = page.inner_text("#film")
    assert "Novelty" in shown and told not in shown
    upload(page, "other.png", png(Image.fromarray(np.tile(np.linspace(0, 255, 640).astype(np.uint8), (480, 1)))))
    shown = page.inner_text("#film")
    assert 0 < shown.index(told) < shown.index("Score ")


def test_every_verdict_is_told_in_words_and_no_refused_film_has_a_score(page, films):
    assert "Not a medical device" in page.inner_text(".banner")
    assert "Toy images." in page.inner_text("#cautions")
    for key, verdict in (
        ("accepted", "Accepted"),
        ("warned", "Accepted with warnings"),
        ("child", "Refused"),
        ("hand", "Refused"),
    ):
        upload(page, "film", films[key][1])
        assert verdict in page.inner_text("#film-verdict")
        shown = page.inner_text("#film")
        if verdict == "Refused":
            assert "expected" in shown and page.locator("#film canvas").count() == 0
            assert page.locator("#film article").count() == 0 and "PPV" not in shown and "threshold" not in shown
        else:
            assert "Score" in shown and "PPV" in shown and page.locator("#film canvas").count() == 1


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not a film",
        bytes(128) + b"DICM",
        b"\x89PNG\r\n\x1a\nbroken",
        b"\xff\xd8\xff\xe0broken",
        b"<script>alert(1)</script>",
    ],
    ids=["empty", "text", "dicom", "png", "jpeg", "html"],
)
def test_bad_files_get_words_where_the_user_looks(page, content):
    upload(page, "<img src=x onerror=alert(1)>.dcm", content)
    shown = page.inner_text("#film")
    assert "Refused" in shown or "empty" in shown
    assert "Traceback" not in shown and page.locator("#film canvas").count() == 0


def test_a_film_that_is_slow_to_draw_does_not_appear_under_another_ones_verdict(page, films):
    page.evaluate(HOLD_PICTURES)
    page.set_input_files("#film-file", {"name": "f", "mimeType": "x/x", "buffer": films["accepted"][1]})
    until(page, "document.getElementById('film-verdict').innerText.includes('Accepted')")
    upload(page, "film", films["child"][1])
    page.evaluate("release()")
    page.wait_for_timeout(300)
    assert "Refused" in page.inner_text("#film-verdict") and page.locator("#film canvas").count() == 0
    assert page.inner_text("#film-status").endswith("refused.")


HOLD_PICTURES = """() => {
  const held = new Promise((go) => { window.release = go; });
  const decode = HTMLImageElement.prototype.decode;
  HTMLImageElement.prototype.decode = async function () { await held; return decode.call(this); };
}"""


def test_prevalence_changes_what_a_call_means_and_never_the_test_results(page, films):
    upload(page, "film", films["accepted"][1])
    before = page.inner_text(".meaning")
    assert "Where 5.0 % of films show Effusion" in before
    page.click(".meaning a")
    assert page.evaluate("document.activeElement.matches('#film-prevalence input')")
    page.fill("#film-prevalence input", "40")
    until(page, "before => document.querySelector('.meaning').innerText !== before", before)
    page.click("nav a[href='#run']")
    results = page.inner_text("#run table")
    slider = page.locator("#run input[type=range]").first
    slider.focus()
    page.keyboard.press("Home")
    assert "not the one that is used" in page.inner_text("#run")
    assert page.inner_text("#run table") == results


def test_a_folder_becomes_a_worklist_that_sorts_and_downloads(page, films, tmp_path):
    page.click("nav a[href='#folder']")
    files = [{"name": f"{key}.dcm", "mimeType": "application/octet-stream", "buffer": films[key][1]}
             for key in ("accepted", "accepted-other", "warned", "child")]  # fmt: skip
    files.append({"name": "=cmd.dcm", "mimeType": "application/octet-stream", "buffer": b"x"})
    page.set_input_files("#folder-files", files)
    until(page, "document.getElementById('folder-status').textContent.includes('5 of 5 films read')")
    rows = [row.inner_text() for row in page.locator("#folder tbody tr").all()]
    scores = [float(row.split("\t")[2]) for row in rows[:3]]
    assert scores == sorted(scores, reverse=True)
    assert all("none" in row for row in rows[3:])
    page.click("#folder th button[data-sort=name]")
    names = [row.inner_text() for row in page.locator("#folder tbody th").all()]
    assert names[:3] == sorted(names[:3])
    with page.expect_download() as loading:
        page.click("text=Download as CSV")
    loading.value.save_as(tmp_path / "results.csv")
    text = (tmp_path / "results.csv").read_text()
    assert len(text.splitlines()) == 6 and "\n'=cmd.dcm,reject,not_dicom,,,," in text.replace("\r", "")
    assert "minutes" in page.inner_text("#folder-result")


def test_the_keyboard_alone_is_enough(page):
    def tab_to(selector):
        for _ in range(60):
            page.keyboard.press("Tab")
            if page.evaluate("selector => document.activeElement.matches(selector)", selector):
                return
        raise AssertionError(f"{selector} is not reached with Tab")

    tab_to(".skip")
    tab_to(".examples button")
    page.keyboard.press("Enter")
    page.wait_for_selector("#film canvas")
    # The answer has the focus, and the film comes next.
    tab_to(".view")
    page.keyboard.press("+")
    until(page, "document.querySelector('#film-viewer .soft').textContent.includes('125 %')")
    tab_to("#view-inverted")
    page.keyboard.press("Space")
    until(page, "document.querySelector('#film-viewer .soft').textContent.includes('inverted')")
    # The run: another measure of its groups, and its report.
    page.click("nav a[href='#run']")
    tab_to("nav.inside a[href='#run-groups']")
    page.keyboard.press("Enter")
    until(page, "document.activeElement.id === 'run-groups'")
    tab_to("#run-groups-measure")
    page.keyboard.press("s")
    until(page, "document.querySelector('#run table.rates caption').textContent.startsWith('Sensitivity')")
    tab_to("button[data-page=report]")
    page.keyboard.press("Enter")
    page.wait_for_selector("iframe.reading")
    assert "A report" in page.frame_locator("iframe.reading").locator("h1").inner_text()
    page.keyboard.press("Enter")
    until(page, "document.querySelectorAll('iframe').length === 0")


def test_the_run_shows_groups_and_experiments_as_they_were_measured(page, toy_run):
    page.click("nav a[href='#run']")
    groups, beside = page.locator("#run table.rates").all()
    (entry,) = toy_run.evaluation.findings
    levels = sum(1 for analysis in entry.subgroups for group in analysis.groups if group.n_images)
    shown = groups.inner_text()
    assert groups.locator("th[scope=row]").count() == 1 + levels
    assert f"{entry.n_positive} of {entry.n_images}" in shown and f"{entry.auroc.value:.3f}" in shown
    assert "age in years" in shown and "age_years" not in shown
    rows = [row.inner_text() for row in beside.locator("tbody tr").all()]
    assert len(rows) == 2 and "this run" in rows[0]
    assert "not distinguishable" in rows[1] or "not estimable" in rows[1]
    page.select_option("#run-beside-measure", "specificity")
    assert f"{entry.specificity.value:.3f}" in page.locator("#run table.rates").last.inner_text()


def test_no_file_of_the_run_is_trusted(chromium, served, elsewhere):
    """A model card with a script, an image and a frame of another server: shown; nothing of it runs or is fetched."""
    context = chromium.new_context()
    page = context.new_page()
    page.set_default_timeout(SLOW_MS)
    page.goto(f"{served.url}#run")
    page.wait_for_selector("body[data-ready]")
    title = page.title()
    page.click("button[data-page=model-card]")
    page.wait_for_selector("iframe.reading")
    card = page.frame_locator("iframe.reading")
    assert card.locator("h1").inner_text() == "A card" and "ran" not in card.locator("body").inner_text()
    assert not asked_of(elsewhere)
    # Not even by a click does it lead out of the page.
    card.locator("a").click()
    page.wait_for_timeout(300)
    assert page.url.startswith(served.url) and page.title() == title
    page.goto(f"{served.url}model-card")
    assert "ran" not in page.inner_text("body")
    page.wait_for_timeout(300)
    assert not asked_of(elsewhere)
    context.close()


def asked_of(listening):
    """What a server was asked; a browser may open a connection as soon as a link is pressed, and ask nothing."""
    heard = b""
    while True:
        try:
            connection, _ = listening.accept()
        except BlockingIOError:
            return heard
        with connection:
            connection.setblocking(False)
            try:
                heard += connection.recv(4096)
            except BlockingIOError:
                continue


def test_a_proxy_may_show_the_page_below_a_path_of_its_own(chromium, make_server):
    """As jupyter-server-proxy does: the path loses its beginning, and the host's name is that of the outside."""
    prefix, inner, outside = "/user/ada/proxy/7860", make_server(hosts=()), []

    class Proxy:
        limits = inner.limits

        async def __call__(self, scope, receive, send):
            if not scope["path"].startswith(f"{prefix}/"):
                outside.append(scope["path"])
            await inner({**scope, "path": scope["path"].removeprefix(prefix)}, receive, send)

    with serve(Proxy()) as proxied:
        context = chromium.new_context()
        page = context.new_page()
        page.set_default_timeout(SLOW_MS)
        page.goto(f"{proxied.url}{prefix[1:]}/")
        page.wait_for_selector("body[data-ready]")
        page.locator(".examples button").first.click()
        until(page, ANSWERED)
        assert page.locator("#film canvas").count() == 1
        page.click("nav a[href='#run']")
        page.click("button[data-page=report]")
        page.wait_for_selector("iframe.reading")
        assert page.frame_locator("iframe.reading").locator("h1").inner_text() == "A report"
        context.close()
    assert outside == []


@pytest.mark.parametrize("width", [360, 1600])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_part_fits_and_can_be_read(page, films, width, theme):
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(color_scheme=theme)
    upload(page, "film", films["accepted"][1])
    for part in ("film", "folder", "run"):
        page.click(f"nav a[href='#{part}']")
        assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
        assert page.evaluate(UNLABELLED, f"#{part}") == []
        assert page.evaluate(FAINT, f"#{part}") == []


UNLABELLED = """(part) => [...document.querySelector(part).querySelectorAll("input, select, button, canvas")]
  .filter((each) => !(each.labels && each.labels.length) && !each.getAttribute("aria-label") && !each.innerText)
  .map((each) => each.outerHTML)"""

# Text whose contrast with what is behind it is below 4.5 (WCAG 2.2, 1.4.3).
FAINT = """(part) => {
  const numbers = (colour) => (colour.match(/[\\d.]+/g) || []).map(Number);
  const light = ([red, green, blue]) => [red, green, blue].map((one) => one / 255)
    .map((one) => (one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4))
    .reduce((sum, one, at) => sum + one * [0.2126, 0.7152, 0.0722][at], 0);
  const behind = (element) => {
    for (let each = element; each; each = each.parentElement) {
      const colour = numbers(getComputedStyle(each).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const found = [];
  for (const element of document.querySelectorAll(`${part} *, .banner, .cautions *`)) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!own || !element.getClientRects().length || element.closest("svg")) continue;
    const [one, other] = [light(numbers(getComputedStyle(element).color)), light(behind(element))];
    const contrast = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
    if (contrast < 4.5) found.push(`${element.className} ${element.textContent.slice(0, 30)}: ${contrast.toFixed(2)}`);
  }
  return found;
}"""


def test_five_at_once_each_get_their_own_answer(chromium, served, films):
    """Five pages ask before any is answered; each shows what its own film is worth, as a single one does."""
    keys = ("accepted", "accepted-other", "warned", "child", "inverted")
    contexts = [chromium.new_context() for _ in keys]
    pages = [context.new_page() for context in contexts]
    alone, together = [], []
    for page, key in zip(pages, keys, strict=True):
        page.set_default_timeout(SLOW_MS)
        page.goto(served.url)
        page.wait_for_selector("body[data-ready]")
        upload(page, "film", films[key][1])
        alone.append(told(page))
        page.reload()
        page.wait_for_selector("body[data-ready]")
    for page, key in zip(pages, keys, strict=True):
        page.set_input_files(
            "#film-file", {"name": "f", "mimeType": "application/octet-stream", "buffer": films[key][1]}
        )
    for page in pages:
        until(page, ANSWERED)
        together.append(told(page))
    assert together == alone and len(set(alone)) >= 3
    for context in contexts:
        context.close()


def told(page):
    scores = [each.inner_text() for each in page.locator("#film-findings strong").all()]
    return page.inner_text("#film-verdict"), *scores


def test_nothing_is_left_on_disk(page, films):
    """Of the folder of temporary files and the working folder."""
    places = [Path(tempfile.gettempdir()), Path.cwd()]
    before = [{path.name for path in place.iterdir()} for place in places]
    for key in ("accepted", "damaged"):
        upload(page, "film", films[key][1])
    after = [{path.name for path in place.iterdir()} for place in places]
    ours = [name for old, new in zip(before, after, strict=True) for name in new - old if "chexkeras" in name]
    assert ours == []
