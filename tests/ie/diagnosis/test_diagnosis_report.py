"""The report shows everything, the broken first."""

from pages import check_page

from ie.diagnosis import report, verdict
from ie.diagnosis.findings import Finding


def finding(name: str, verdict: str) -> Finding:
    return Finding(name, f"H of {name}", "Q", "T", "O", verdict, cause=f"cause of {name}", remedy="R")


def test_report_says_it_all_and_escapes() -> None:
    finding = Finding(
        "leak", "H <b>", "Q", "T", "O", "broken", "data", "cause", "remedy", examples=("<script>",)
    )
    found = verdict.Diagnosis([finding], "too-good", "Why.", "Do.", sizes={"train": 1, "dev": 1, "test": 0})
    page = report.page(found)
    assert "<script>" not in page
    assert "H &lt;b&gt;" in page
    assert "It is too good to be true." in page
    assert report.to_json(found)["cause"] == "leak"
    drawn = report.text(found)
    assert "broken" in drawn
    assert report.summary(found)[-1] == "Do."


def test_warnings_come_first_and_what_passed_is_a_line() -> None:
    kinds = ["fine", "not tested", "fine", "watch", "fine", "broken"]
    names = ["n0", "n1", "n2", "n3", "n4", "leak"]
    findings = [finding(name, kind) for name, kind in zip(names, kinds, strict=True)]
    found = verdict.Diagnosis(findings, "decent", "Why.", "Do.", sizes={"train": 1, "dev": 1, "test": 0})
    drawn = report.text(found)
    assert drawn.index("H of leak") < drawn.index("H of n3")
    assert "H of n0" not in drawn
    assert drawn.splitlines()[-3:] == [
        "– not tested, 1 of 6 hypotheses: n1.",
        "✔ fine, 3 of 6 hypotheses: n0, n2, n4.",
        "Not tested: O",
    ]
    page = report.page(found)
    assert page.index("H of leak") < page.index("H of n3") < page.index("H of n1") < page.index("H of n0")
    healthy = verdict.Diagnosis(findings[:1], "decent", "Why.", "Do.")
    assert report.text(healthy) == "✔ fine, 1 of 1 hypotheses: n0."


def test_the_page_answers_first_and_fits(browser: object) -> None:
    findings = [finding("leak", "broken"), finding("drift", "watch")]
    sizes = {"train": 1, "dev": 1, "test": 0}
    page = report.page(verdict.Diagnosis(findings, "too-good", "Why.", "Do.", sizes=sizes))
    assert '<p class="headline">Broken: cause of leak.</p>' in page
    check_page(browser, page)


def test_the_terminal_fits_80_columns() -> None:
    broken = Finding(
        "leak", "h " * 60, "q " * 60, "t " * 60, "o " * 60, "broken", cause="c " * 60, remedy="r " * 60
    )
    fine = [finding(f"name-{i}", "fine") for i in range(30)]
    drawn = report.text(verdict.Diagnosis([broken, *fine], "too-good", "Why.", "Do."))
    assert max(map(len, drawn.splitlines())) <= 80
    assert "Remedy" in drawn
