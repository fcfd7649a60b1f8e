"""A reader of the pages, and the two runs they read about."""

from __future__ import annotations

from dataclasses import dataclass, field

from playwright.sync_api import BrowserContext, Page

TRAVELLER = "EV-4240-0614"  # the flight to Buffalo


@dataclass
class Flights:
    """Two runs of the flights example on one server: the good one, then the one that went to Buffalo."""

    good: str
    buffalo: str


@dataclass
class Visitor:
    """One reader with a fresh profile. Everything a page complains of is kept."""

    context: BrowserContext
    page: Page
    url: str
    complaints: list[str] = field(default_factory=list)

    def goto(self, path: str) -> None:
        answer = self.page.goto(self.url + path)
        assert answer is not None
        assert answer.status < 500, answer.text()

    def violations(self) -> list[str]:
        """What the content security policy stopped on this page, and what the page logged."""
        return [*self.page.evaluate("window.violations ?? []"), *self.complaints]

    def overflow_px(self) -> int:
        """How far the page is wider than the screen."""
        return int(self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))
