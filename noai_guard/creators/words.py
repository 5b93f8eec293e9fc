"""The texts of the creators' page: the site's own, else the English ones."""

from collections.abc import Mapping

from markupsafe import Markup, escape

from noai_guard.declarations import policy_page
from noai_guard.resources import texts

TEXTS = "creators/texts.yaml"


class Words:
    """The texts of the page for its templates. Those of the page for people may be used too.

    `own` are the site's texts of the creators' page, `own_names` those of its page for people. A text that the site has
    not translated is marked as English for screen readers.
    """

    def __init__(self, own: Mapping[str, str], own_names: Mapping[str, str]) -> None:
        english = texts(TEXTS)
        self._english = {**texts(policy_page.TEXTS), **english}
        shared = {key: text for key, text in own_names.items() if key not in english}
        self._own = {**shared, **own} if own else {}

    def plain(self, key: str, **values: object) -> Markup:
        """Return a text without markup of its own; `values` are escaped unless they are markup."""
        template = str(escape(self._own.get(key, self._english[key])))
        return Markup(policy_page.PLACEHOLDER.sub(lambda match: str(escape(values.get(match[1], match[0]))), template))

    def __call__(self, key: str, **values: object) -> Markup:
        """Return a text for the body of the page."""
        said = self.plain(key, **values)
        return said if key in self._own or not self._own else Markup(f'<span lang="en" dir="ltr">{said}</span>')
