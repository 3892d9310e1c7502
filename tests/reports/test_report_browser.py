"""The report in a real browser: every control does what it says. Skipped where there is no Chromium."""

from __future__ import annotations

import csv
import io
import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from archfront.hw_profiles.metrics import metric
from archfront.reports.figures import best_known
from archfront.reports.report import ReportData, write

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="needs chromium and chromedriver on the PATH")

FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--disable-background-networking",
    "--disable-sync", "--no-first-run", "--disable-component-update",
)  # fmt: skip


class Browser:
    """A Chromium that is offline, and the report in it."""

    def __init__(self, profile: Path, downloads: Path) -> None:
        from selenium import webdriver
        from selenium.webdriver.chrome.service import Service

        options = webdriver.ChromeOptions()
        options.binary_location = str(CHROMIUM)
        for flag in (*FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        options.add_experimental_option("prefs", {"download.default_directory": str(downloads)})
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.driver = webdriver.Chrome(options=options, service=Service(DRIVER))
        self.downloads = downloads
        self.command("Network.enable")
        self.command("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(downloads))

    def command(self, name: str, **arguments: Any) -> Any:
        return self.driver.execute_cdp_cmd(name, arguments)

    def open(self, path: Path, fragment: str = "", width: int = 1280, scheme: str = "light") -> None:
        self.driver.get("about:blank")
        self.command("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        self.command("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.driver.get_log("browser")
        self.driver.get_log("performance")
        self.driver.get(path.as_uri() + fragment)
        self.wait("document.documentElement.dataset.ready === 'true'")

    def run(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def wait(self, condition: str, seconds: float = 10.0) -> None:
        end = time.monotonic() + seconds
        while not self.run(f"return Boolean({condition})"):
            assert time.monotonic() < end, f"never became true: {condition}"
            time.sleep(0.05)

    def texts(self, selector: str) -> list[str]:
        return list(self.run("return [...document.querySelectorAll(arguments[0])].map(n => n.textContent)", selector))

    def text(self, selector: str) -> str:
        return self.texts(selector)[0]

    def click(self, selector: str) -> None:
        from selenium.webdriver.common.by import By

        node = self.driver.find_element(By.CSS_SELECTOR, selector)
        self.run("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", node)
        node.click()

    def fill(self, selector: str, value: Any) -> None:
        """Set a control as a user does, with the events that go with it, and wait until the page is drawn again."""
        self.run(
            "const n = document.querySelector(arguments[0]); n.value = arguments[1];"
            "for (const e of ['input', 'change']) n.dispatchEvent(new Event(e, {bubbles: true}));"
            "return new Promise(done => requestAnimationFrame(() => setTimeout(done)))",
            selector,
            str(value),
        )

    def rows(self) -> list[int]:
        """The numbers in the table of candidates, from the top."""
        return [
            int(n)
            for n in self.run("return [...document.querySelectorAll('#table tbody tr')].map(r => r.dataset.number)")
        ]

    def errors(self) -> list[str]:
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def requests(self) -> list[str]:
        events = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        sent = (event for event in events if event["method"] == "Network.requestWillBeSent")
        addresses = [event["params"]["request"]["url"] for event in sent]
        return [url for url in addresses if not url.startswith(("data:", "blob:", "about:"))]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    browser = Browser(tmp_path_factory.mktemp("profile"), tmp_path_factory.mktemp("downloads"))
    yield browser
    browser.driver.quit()


@pytest.fixture(scope="module")
def path(study: ReportData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    write(study, path)
    return path


@pytest.fixture
def page(browser: Browser, path: Path) -> Iterator[Browser]:
    """The report, freshly opened; whatever a test does, the console stays empty and nothing is asked of any server."""
    browser.open(path)
    yield browser
    assert browser.errors() == []
    assert [url for url in browser.requests() if not url.startswith(path.as_uri())] == []


def trace(page: Browser, name: str) -> dict[str, list[Any]]:
    """What the scatter plot draws under `name`: the numbers of the candidates, and their places."""
    return dict(
        page.run(
            "const t = document.getElementById('scatter').data.find(t => t.name === arguments[0]);"
            "return {number: t.customdata.map(i => i === null ? null : D.number[i]), x: [...t.x], y: [...t.y]}",
            name,
        )
    )


def drawn(page: Browser) -> list[int]:
    names = (
        "On the front",
        "Dominated",
        "Outside the budget",
        "Failed",
        "Rail complete",
        "Rail infeasible",
        "Rail failed",
    )
    return sorted(number for name in names for number in trace(page, name)["number"])


# --------------------------------------------------------------------------- scatter


def test_the_plot_shows_every_candidate_once(page: Browser, candidates: pd.DataFrame) -> None:
    assert drawn(page) == candidates["number"].tolist()
    points = page.run("return document.querySelectorAll('#scatter .scatterlayer .point').length")
    assert points > len(candidates)  # and the references, the ring around the exported network, earlier estimates


def test_the_front_stands_where_it_was_measured(page: Browser, candidates: pd.DataFrame) -> None:
    front = candidates[candidates["front"]].set_index("number")
    shown = trace(page, "On the front")
    for number, x, y in zip(shown["number"], shown["x"], shown["y"], strict=True):
        assert x == pytest.approx(front.loc[number, "latency_ms"], rel=1e-6)
        assert y == pytest.approx(front.loc[number, "accuracy"] * 100, rel=1e-6)


def test_no_bar_leaves_0_to_100_percent_and_its_text_says_its_ends(
    browser: Browser, tmp_path: Path, study: ReportData
) -> None:
    trials = study.trials.copy()
    picked = trials["picked"]
    trials.loc[picked, ["accuracy", "accuracy.spread"]] = [0.9965, 0.0159]
    write(ReportData(**{**study.__dict__, "trials": trials}), tmp_path / "report.html")
    browser.open(tmp_path / "report.html", f"#sel={trials.loc[picked, 'number'].iloc[0]}")
    bars = browser.run(
        "const t = document.getElementById('scatter').data.find(t => t.name === 'On the front');"
        "return t.y.map((y, k) => [y - t.error_y.arrayminus[k], y + t.error_y.array[k]])"
    )
    assert max(high for _, high in bars) == pytest.approx(100)
    assert pytest.approx(98.06) in [low for low, _ in bars]
    assert "99.7 % (98.1 to 100)" in browser.text("#pins")  # as the same number stands above, from Python
    assert "99.7 % (98.1 to 100)" in browser.texts(".facts dd")[0]


def test_without_a_measured_front_the_estimated_one_is_drawn_counted_and_named(
    browser: Browser, tmp_path: Path, study: ReportData
) -> None:
    trials = study.trials.drop(columns=["accuracy", "latency_ms"]).assign(front=False, picked=False)
    write(ReportData(**{**study.__dict__, "trials": trials}), tmp_path / "report.html")
    browser.open(tmp_path / "report.html")
    count = browser.run("return D.estimated.length")
    assert 1 < count == len(trace(browser, "On the estimated front")["number"])
    assert f"Shown: {count} on the estimated front, " in browser.text("#scatter-text")
    assert "the dotted line is the front by the estimates" in browser.text("#scatter-text")
    browser.fill("#text", "estimated front")
    assert len(browser.rows()) == count


def test_measured_points_are_filled_and_predicted_ones_hollow(page: Browser) -> None:
    marks = page.run(
        "const t = n => document.getElementById('scatter').data.find(t => t.name === n);"
        "return [t('On the front').marker.symbol, t('Dominated').customdata.map((i, k) => "
        "[D.values.accuracy.v[i] === null, t('Dominated').marker.symbol[k]])]"
    )
    assert set(marks[0]) == {"circle"}
    assert all(symbol == ("circle-open" if estimated else "circle") for estimated, symbol in marks[1])


def test_clicking_a_point_pins_a_card_with_its_numbers_choices_and_diagram(
    page: Browser, candidates: pd.DataFrame
) -> None:
    from selenium.webdriver.common.action_chains import ActionChains

    picked = candidates[candidates["picked"]].iloc[0]
    page.run("document.getElementById('scatter').scrollIntoView({block: 'center', behavior: 'instant'})")
    x, y = page.run(
        "const p = document.getElementById('scatter'), {xaxis, yaxis} = p._fullLayout, b = p.getBoundingClientRect();"
        "return [b.left + xaxis._offset + xaxis.d2p(arguments[0]), b.top + yaxis._offset + yaxis.d2p(arguments[1])]",
        float(picked["latency_ms"]),
        float(picked["accuracy"]) * 100,
    )
    actions = ActionChains(page.driver)
    actions.w3c_actions.pointer_action.move_to_location(round(x), round(y))
    actions.pause(0.3).click().perform()
    page.wait("document.querySelector('#pins table')")
    card = page.text("#pins")
    assert f"Network {picked['number']}" in card
    assert f"{picked['accuracy'] * 100:.2f} ± 0.70 %" in card
    assert "72 samples" in card and "predicted" in card and "exact" in card
    assert all(site in card for site in json.loads(picked["sites"]))
    parts = page.run("return document.querySelectorAll('#pins .diagram use').length")
    assert parts > len(json.loads(picked["architecture"])["network"]["stages"])
    assert "ConvStem(" in page.text("#pins pre")
    assert page.run("return location.hash") == f"#sel={picked['number']}"


def test_hovering_tells_the_choices(page: Browser) -> None:
    page.run("Plotly.Fx.hover('scatter', [{curveNumber: 0, pointNumber: 0}])")
    page.wait("document.querySelector('#scatter .hovertext')")
    hover = page.text("#scatter .hovertext")
    assert "Network" in hover and "Predicted latency" in hover and "stem.width" in hover


def test_an_axis_can_be_any_metric(page: Browser, candidates: pd.DataFrame) -> None:
    page.fill("#x", "params")
    shown = trace(page, "Dominated")
    table = candidates.set_index("number")
    _, size = metric("params").unit_for(float(candidates["params"].median()))
    assert shown["x"] == pytest.approx([table.loc[n, "params"] / size for n in shown["number"]])
    assert drawn(page) == candidates["number"].tolist()
    for colour in ("predicted_latency_ms", "number", "origin", "site:0"):
        page.fill("#colour", colour)


# --------------------------------------------------------------------------- budget


def within(candidates: pd.DataFrame, limits: dict[str, float]) -> pd.DataFrame:
    for name, limit in limits.items():
        candidates = candidates[best_known(candidates, name) <= limit]
    return candidates


def brute_force_best(candidates: pd.DataFrame) -> int | None:
    complete = candidates[candidates["state"] == "complete"]
    measured = complete[complete["accuracy"].notna()]
    pool, column = (measured, "accuracy") if len(measured) else (complete, "supernet_accuracy")
    equal = pool[pool[column] == pool[column].max()]
    return None if pool.empty else int(equal.loc[best_known(equal, "latency_ms").idxmin(), "number"])


def slide(page: Browser, axis: str, quantile: float) -> float:
    """Move a slider to a share of its way and read the limit that it stands for."""
    selector = f"input[data-axis='{axis}']"
    steps = int(page.run("return document.querySelector(arguments[0]).max", selector))
    page.fill(selector, int(steps * quantile))
    return float(page.run("return view.limits[arguments[0]]", axis))


@pytest.mark.parametrize("quantile", [0.0, 0.02, 0.1, 0.3, 0.6, 0.9])
def test_the_best_under_a_latency_limit_is_the_brute_force_answer(
    page: Browser, candidates: pd.DataFrame, quantile: float
) -> None:
    left = within(candidates, {"latency_ms": slide(page, "best:latency_ms", quantile) * (1 + 1e-6)})
    best = brute_force_best(left)
    assert page.run("return document.getElementById('best').dataset.number") == ("" if best is None else str(best))
    assert page.text("#left").startswith(f"{len(left)} of {len(candidates)} ")
    assert drawn(page) == sorted(left["number"])
    assert page.text("#shown").startswith(f"{len(left)} candidate")


def test_limits_on_several_metrics_hold_together_and_can_be_lifted(page: Browser, candidates: pd.DataFrame) -> None:
    limits = {"latency_ms": slide(page, "best:latency_ms", 0.5), "params": slide(page, "params", 0.4)}
    left = within(candidates, {name: limit * (1 + 1e-6) for name, limit in limits.items()})
    assert drawn(page) == sorted(left["number"])
    page.click("#sliders button[type=reset]")
    assert drawn(page) == candidates["number"].tolist()


def test_the_budget_of_the_study_leaves_what_is_within_it(page: Browser, candidates: pd.DataFrame) -> None:
    page.click("#study-budget")
    assert drawn(page) == sorted(within(candidates, {"latency_ms": 1.3, "params": 5e6})["number"])


# --------------------------------------------------------------------------- table and CSV


def test_sorting_puts_the_best_first_then_the_worst_and_the_unknown_always_last(
    page: Browser, candidates: pd.DataFrame
) -> None:
    page.click("#more")
    by_accuracy = candidates.dropna(subset="accuracy").sort_values("accuracy", ascending=False)["number"].tolist()
    page.click("#table thead button[data-key=accuracy]")
    assert page.rows()[: len(by_accuracy)] == by_accuracy
    assert page.run("return document.querySelector('th[aria-sort]').getAttribute('aria-sort')") == "descending"
    page.click("#table thead button[data-key=accuracy]")
    assert page.rows()[: len(by_accuracy)] == by_accuracy[::-1]
    assert sorted(page.rows()) == candidates["number"].tolist()


def test_text_and_state_filter_the_table(page: Browser, candidates: pd.DataFrame) -> None:
    page.fill("#text", "NaN step")
    assert page.rows() == candidates[candidates["state"] == "failed"]["number"].tolist()
    page.fill("#text", "")
    for state in ("front", "complete", "failed"):
        page.click(f"#states input[value={state}]")
    assert page.rows() == candidates[candidates["state"] == "infeasible"]["number"].tolist()


def test_the_csv_holds_the_selection_with_every_number(page: Browser, candidates: pd.DataFrame) -> None:
    page.fill("#text", "front")
    page.click("#csv")
    end = time.monotonic() + 10
    while not (files := list(page.downloads.glob("*.csv"))) and time.monotonic() < end:
        time.sleep(0.05)
    rows = list(csv.DictReader(io.StringIO(files[0].read_text())))
    front = candidates[candidates["front"]].set_index("number")
    assert sorted(int(row["number"]) for row in rows) == sorted(front.index)
    for row in rows:
        expected = front.loc[int(row["number"])]
        assert int(row["macs"]) == expected["macs"] and row["macs.provenance"] == "exact"
        assert float(row["accuracy"]) == pytest.approx(expected["accuracy"], rel=1e-6)
        assert float(row["latency_ms.spread"]) == pytest.approx(expected["latency_ms.spread"], rel=1e-2)
        assert row["latency_ms.samples"] == "72" and row["digest"] == expected["digest"]
        sites = json.loads(expected["sites"])
        assert {site: row[site] for site in sites} == sites


def test_a_cell_that_looks_like_a_formula_is_kept_as_text(page: Browser) -> None:
    cells = page.run("return ['=1+1', '@x', 'a,b', 'say \"hi\"', -1.5, null].map(csvCell)")
    assert cells == ["'=1+1", "'@x", '"a,b"', '"say ""hi"""', "-1.5", ""]


def test_a_box_drawn_in_the_plot_selects_the_same_candidates_in_the_table(page: Browser) -> None:
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.by import By

    page.click("#more")
    page.run("Plotly.relayout('scatter', {dragmode: 'select'})")
    plot = page.driver.find_element(By.CSS_SELECTOR, "#scatter .nsewdrag")
    page.run("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", plot)
    ActionChains(page.driver).move_to_element_with_offset(plot, -120, -60).click_and_hold().move_by_offset(
        160, 140
    ).pause(0.2).release().perform()
    page.wait("view.brush !== null")
    brushed = page.run("return [...view.brush].map(i => D.number[i])")
    assert 0 < len(brushed) < 300
    assert sorted(page.rows()) == sorted(brushed)
    page.click("#unbrush")
    assert len(page.rows()) == 300


# --------------------------------------------------------------------------- pins


def test_a_link_restores_the_pinned_networks_and_marks_what_differs(browser: Browser, path: Path) -> None:
    browser.open(path, "#sel=3,7")
    assert browser.texts("#pins th strong") == ["Network 3", "Network 7"]
    rows = browser.run(
        "return [...document.querySelectorAll('#pins .choices tr')]"
        ".map(r => [r.className, ...[...r.cells].map(c => c.textContent)])"
    )
    assert rows and all((name == "differs") == (left != right) for name, _, left, right in rows)
    assert {name for name, *_ in rows} == {"", "differs"}
    assert browser.errors() == []


def test_at_most_four_networks_are_pinned_and_each_can_be_unpinned(page: Browser) -> None:
    for number in range(5):
        page.click(f"#table tr[data-number='{number}'] button")
    assert page.texts("#pins th strong") == [f"Network {n}" for n in (1, 2, 3, 4)]
    page.click("#pins button[aria-label='Unpin network 2']")
    assert page.run("return location.hash") == "#sel=1,3,4"


def test_an_unknown_link_is_harmless(page: Browser, path: Path) -> None:
    page.open(path, "#sel=99999,zzz")
    assert page.text("#pins") == ""


# --------------------------------------------------------------------------- looks and reach


@pytest.mark.parametrize("fragment", ["", "#sel=3,7"])
def test_nothing_is_wider_than_a_phone(browser: Browser, path: Path, fragment: str) -> None:
    browser.open(path, fragment, width=390)
    assert browser.run("return document.documentElement.scrollWidth") <= 390
    assert browser.errors() == []


# Every text whose contrast with the ground behind it, by the formula of WCAG 2, is too low.
CONTRAST = """
const linear = v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
function luminance(colour) {
  const [r, g, b] = colour.match(/[\\d.]+/g).map(v => linear(v / 255));
  return .2126 * r + .7152 * g + .0722 * b;
}
function ground(node) {
  for (; node; node = node.parentElement) {
    const colour = getComputedStyle(node).backgroundColor;
    if (!/, 0\\)$/.test(colour)) return colour;
  }
  return 'rgb(255, 255, 255)';
}
const low = [];
for (const n of document.querySelectorAll('body *')) {
  const words = [...n.childNodes].filter(c => c.nodeType === 3).map(c => c.textContent.trim()).join('');
  if (!words || !n.getClientRects().length || n.closest('script, style, option')) continue;
  const style = getComputedStyle(n);
  const [a, b] = [n.closest('svg') ? style.fill : style.color, ground(n)].map(luminance).sort((x, y) => y - x);
  if ((a + .05) / (b + .05) < 4.5) low.push([n.tagName, words.slice(0, 30), (a + .05) / (b + .05)]);
}
return low;
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_has_a_contrast_of_at_least_4_5(browser: Browser, path: Path, scheme: str) -> None:
    browser.open(path, "#sel=3,7", scheme=scheme)
    assert browser.run(CONTRAST) == []


def test_the_system_decides_the_theme_and_the_button_changes_it(browser: Browser, path: Path) -> None:
    ground = "return getComputedStyle(document.body).backgroundColor"
    browser.open(path, scheme="dark")
    dark = browser.run(ground)
    browser.click("#theme")
    assert browser.run(ground) == "rgb(255, 255, 255)" != dark
    assert browser.errors() == []


def test_the_keyboard_reaches_every_control(page: Browser) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    page.fill("#text", "front")  # a short table
    wanted = set(
        page.run(
            "const c = [...document.querySelectorAll('main button, main select, main input, main summary')]"
            ".filter(n => n.getClientRects().length); c.forEach((n, k) => n.dataset.stop = k);"
            "document.activeElement.blur(); return c.map(n => n.dataset.stop)"
        )
    )
    body = page.driver.find_element(By.TAG_NAME, "body")
    reached: set[str] = set()
    for _ in range(3 * len(wanted)):
        body = page.driver.switch_to.active_element
        body.send_keys(Keys.TAB)
        reached.add(page.run("return document.activeElement.dataset.stop ?? ''"))
        if wanted <= reached:
            break
    assert wanted <= reached


def test_every_control_and_figure_has_a_name(page: Browser) -> None:
    nameless = page.run(
        "return [...document.querySelectorAll('button, select, input, [role=img], [role=figure], [role=region]')]"
        ".filter(n => !(n.textContent.trim() || n.getAttribute('aria-label') || n.labels?.length))"
        ".map(n => n.outerHTML)"
    )
    assert nameless == []


def test_on_paper_the_controls_are_gone_and_the_front_is_there(page: Browser) -> None:
    page.command("Emulation.setEmulatedMedia", media="print")
    shown = page.run(
        "return ['#sliders', '#csv', '#theme', '#scatter', '#gallery']"
        ".map(s => document.querySelector(s).getClientRects().length > 0)"
    )
    page.command("Emulation.setEmulatedMedia", media="")
    assert shown == [False, False, False, True, True]


# --------------------------------------------------------------------------- other studies


def test_hostile_names_are_shown_and_do_not_run(
    browser: Browser,
    tmp_path: Path,
    make_candidates: Callable[..., pd.DataFrame],
    make_study: Callable[..., ReportData],
) -> None:
    hostile = "</script><img src=x onerror=\"document.title='owned'\"><a href=\"javascript:document.title='owned'\">"
    trials = make_candidates(20)
    trials["origin"] = trials["reason"] = hostile
    trials["sites"] = json.dumps({hostile: hostile})
    references = pd.DataFrame({"name": [hostile], "latency_ms": [1.0], "accuracy": [0.9]})
    write(make_study(trials, title=hostile, references=references), tmp_path / "report.html")
    browser.open(tmp_path / "report.html", "#sel=0,1")
    browser.fill("#colour", "site:0")
    browser.run("Plotly.Fx.hover('scatter', [{curveNumber: 0, pointNumber: 0}])")
    time.sleep(0.3)
    assert "owned" not in browser.run("return document.title.replace(arguments[0], '')", hostile)
    assert browser.run("return document.querySelectorAll('img, a[href^=javascript]').length") == 0
    assert hostile in browser.text("#pins")
    assert browser.errors() == []


@pytest.mark.parametrize("kind", ["none", "failed", "infeasible", "one"])
def test_poor_studies_open_without_errors(browser: Browser, tmp_path: Path, study: ReportData, kind: str) -> None:
    trials = study.trials
    chosen = {
        "none": trials.head(0),
        "failed": trials[trials["state"] == "failed"],
        "infeasible": trials[trials["state"] == "infeasible"],
        "one": trials[trials["picked"]],
    }[kind]
    write(ReportData(**{**study.__dict__, "trials": chosen}), tmp_path / "report.html")
    browser.open(tmp_path / "report.html")
    assert browser.text("#left").startswith(f"{len(chosen)} of {len(chosen)}")
    assert browser.errors() == []
