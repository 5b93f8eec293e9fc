"""<meta name="robots" content="noai, noimageai"> for HTML pages; it covers the page, not the audio that it links to."""

from noai_guard.declarations.shared.standard import Standard, robots_directives

STANDARD = Standard(
    "html_meta",
    "meta robots noai",
    tags=lambda policy, path_policy: [
        f'<meta name="robots" content="{line}">'.encode("ascii")
        for line in filter(None, [robots_directives(policy, path_policy)])
    ],
)
