"""The internal report in a headless Chromium: keys, zoom, blinking, marks, the saved file.

    browser_test.py REPORT_TEST     the program of report_test.c, which writes a report into a folder

Exit code 77, "skipped", where Chromium, its driver or Selenium's package is missing.
"""
import json
import os
import subprocess
import sys
import tempfile
import time

try:
    from selenium import webdriver
    from selenium.webdriver.chrome.options import Options
    from selenium.webdriver.chrome.service import Service
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys
except ImportError:
    print("skipped: python3-selenium is not installed")
    sys.exit(77)
if not (os.path.exists("/usr/bin/chromium") and os.path.exists("/usr/bin/chromedriver")):
    print("skipped: chromium or chromium-driver is not installed")
    sys.exit(77)


def open_browser(downloads):
    options = Options()
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                     "--window-size=1000,1200"):
        options.add_argument(argument)
    options.add_experimental_option("prefs", {"download.default_directory": downloads})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    return webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))


def requests_of(browser):
    """Every address that the page asked for, from the browser's own log of its network."""
    found = []
    for entry in browser.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            found.append(message["params"]["request"]["url"])
    return [url for url in found if not url.startswith(("data:", "blob:"))]


def wait_for(condition, what):
    limit = time.monotonic() + 60
    while time.monotonic() < limit:
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("did not happen: " + what)


def check_review(browser, folder, downloads):
    page = "file://" + folder + "/report/report.internal.html"
    browser.get(page)
    body = browser.find_element(By.TAG_NAME, "body")
    cards = browser.find_elements(By.CSS_SELECTOR, ".pair")
    assert len(cards) == 2, len(cards)
    count = browser.find_element(By.ID, "review-count")
    assert count.text == "0 of 2 marked", count.text

    body.send_keys(Keys.ARROW_RIGHT)
    assert "now" in cards[0].get_attribute("class"), "the first key goes to the first pair"
    body.send_keys("1")
    body.send_keys("j")
    assert "now" in cards[1].get_attribute("class") and "now" not in cards[0].get_attribute("class")
    body.send_keys("3")
    assert count.text == "2 of 2 marked", count.text
    assert cards[0].find_element(By.CSS_SELECTOR, "input[value=copy]").is_selected()
    assert cards[1].find_element(By.CSS_SELECTOR, "input[value=unsure]").is_selected()

    width = cards[1].find_element(By.TAG_NAME, "img").size["width"]
    body.send_keys("+")
    assert cards[1].find_element(By.TAG_NAME, "img").size["width"] > 1.3 * width, "zoom"
    body.send_keys("-")

    figures = cards[1].find_elements(By.CSS_SELECTOR, ".views figure")
    body.send_keys("b")
    wait_for(lambda: figures[0].location == figures[1].location, "blinking puts one over the other")
    wait_for(lambda: "hidden" in figures[0].get_attribute("class"), "the first is hidden in turn")
    wait_for(lambda: "hidden" in figures[1].get_attribute("class"), "the second is hidden in turn")
    body.send_keys("b")
    assert figures[0].location != figures[1].location, "and ends"

    body.send_keys("n")
    browser.switch_to.active_element.send_keys("same lesion 1 3 s")
    browser.switch_to.active_element.send_keys(Keys.ESCAPE)
    assert cards[1].find_element(By.CSS_SELECTOR, "input[value=unsure]").is_selected(), \
        "keys in a note are a note"

    browser.find_element(By.ID, "reviewer").send_keys("A. Reviewer")
    browser.find_element(By.ID, "review-save").click()
    saved = os.path.join(downloads, "review.json")
    # A download's name is there, empty, before its bytes are moved into place.
    wait_for(lambda: os.path.exists(saved) and os.path.getsize(saved) > 0, "the file is saved")
    with open(saved, encoding="utf-8") as file:
        review = json.load(file)
    assert review["schema"] == "lethe/review/1" and review["reviewer"] == "A. Reviewer"
    assert [mark["mark"] for mark in review["marks"]] == ["copy", "unsure"], review["marks"]
    assert review["marks"][1]["note"] == "same lesion 1 3 s"
    assert requests_of(browser) == [page], "a report asks nothing of anybody"


def check_public(browser, folder):
    page = "file://" + folder + "/report/report.public.html"
    browser.get(page)
    assert requests_of(browser) == [page]
    assert not [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    assert browser.find_element(By.TAG_NAME, "h1").text == "An <exemplary> release"
    for width in (1200, 390):
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {
            "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600})
        wide = browser.execute_script("return document.documentElement.scrollWidth")
        assert wide <= width, "nothing sticks out at %d: %d" % (width, wide)
    links = browser.find_elements(By.CSS_SELECTOR, "nav a")
    for link in links:
        target = link.get_attribute("href").split("#")[1]
        assert browser.find_elements(By.ID, target), target


CONTRAST = """
  function parse(text) { return text.match(/[\\d.]+/g).map(Number); }
  function light(c) { return [0, 1, 2].map(function (i) { var v = c[i] / 255;
    return v <= 0.03928 ? v / 12.92 : Math.pow((v + 0.055) / 1.055, 2.4); })
    .reduce(function (sum, v, i) { return sum + v * [0.2126, 0.7152, 0.0722][i]; }, 0); }
  function under(node) { var layers = [];
    for (; node; node = node.parentElement) { var c = parse(getComputedStyle(node).backgroundColor);
      if (c.length < 4 || c[3] > 0) layers.push(c); if (c.length < 4) break; }
    return layers.reverse().reduce(function (below, c) { var a = c.length < 4 ? 1 : c[3];
      return [0, 1, 2].map(function (i) { return a * c[i] + (1 - a) * below[i]; }); }, [255, 255, 255]); }
  var worst = 99, where = "";
  document.querySelectorAll("p, h1, h2, h3, h4, td, th, dd, dt, li, small, span, a, figcaption, summary, code, button, label")
    .forEach(function (node) { if (!node.textContent.trim() || !node.offsetParent) return;
      var a = light(parse(getComputedStyle(node).color)), b = light(under(node));
      var ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
      if (ratio < worst) { worst = ratio; where = node.outerHTML.slice(0, 120); } });
  return [worst, where];
"""


def check_contrast(browser, folder):
    """WCAG AA asks for 4.5 : 1."""
    for scheme in ("light", "dark"):
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {
            "features": [{"name": "prefers-color-scheme", "value": scheme}]})
        browser.get("file://" + folder + "/report/report.internal.html")
        worst, where = browser.execute_script(CONTRAST)
        assert worst >= 4.5, (scheme, worst, where)


def main():
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as downloads:
        subprocess.run([sys.argv[1], folder], check=True)
        browser = open_browser(downloads)
        try:
            check_review(browser, folder, downloads)
            check_public(browser, folder)
            check_contrast(browser, folder)
        finally:
            browser.quit()
    print("the report in a browser: all as promised")


main()
