"""Published lists of networks: the forms in which they are read, and when one is not believed."""

import json

import pytest

from noai_guard.core.identity.range_documents import BadRanges, change_problem, read_ranges


def google(*networks: str) -> bytes:
    entries = [{"ipv6Prefix" if ":" in network else "ipv4Prefix": network} for network in networks]
    return json.dumps({"creationTime": "2026-11-01", "prefixes": entries}).encode()


@pytest.mark.parametrize(
    ("body", "networks"),
    [
        (google("8.8.8.0/24", "2001:4860::/32"), ("8.8.8.0/24", "2001:4860::/32")),
        (b"\xef\xbb\xbf8.8.8.0/24 # a comment\n\n8.8.9.9\n", ("8.8.8.0/24", "8.8.9.9/32")),
        (b'["8.8.8.0/25", "8.8.8.128/25"]', ("8.8.8.0/24",)),
        (b'{"prefixes": [{"ip_prefix": "8.8.8.0/24"}], "ipv6_prefixes": [{"ipv6_prefix": "2600::/32"}]}', ("8.8.8.0/24", "2600::/32")),
        (b'{"formatVersion": "1.7", "prefixes": [{"ipv4Prefix": "8.8.8.8", "x": 1}, {"ipv4Prefix": "9.9.9.9", "ipv6Prefix": "::1"}]}', ("8.8.8.8/32",)),
        (b"<p>{x} <pre>{&quot;n&quot;: {}, &quot;prefixes&quot;: [{&quot;ip_prefix&quot;: &quot;8.8.8.8&quot;}]}", ("8.8.8.8/32",)),
    ],
)  # fmt: skip
def test_a_list_is_read_in_the_form_in_which_it_is_published(body: bytes, networks: tuple[str, ...]) -> None:
    assert read_ranges(body) == networks


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "holds no network"),
        (b"\xff", "not UTF-8"),
        (b"{", "JSON that cannot be read"),
        (b"[" * 100_000, "JSON that cannot be read"),
        (b'{"formatVersion": "2.0"}', "only 1 is known"),
        (b'{"prefixes": 5}', "holds no network"),
        (b'{"prefixes": ["x"]}', "'x', which is no network"),
        (b"<html>", "a page without a list"),
        (b'<html>{"prefixes" ', "a page without a list"),
        (b'<html>{ {"a": "prefixes"}, "prefixes"', "a page without a list"),
        (b"8.8.8.8\n" * 100_001, "more than 100,000"),
        (google("8.0.0.0/7"), "wider than /8"),
        (google("2000::/18"), "wider than /19"),
        (google("10.0.0.0/8"), "not of the public network"),
        (google("224.0.0.0/8"), "not of the public network"),
    ],
)
def test_a_list_that_cannot_be_believed_says_why(body: bytes, why: str) -> None:
    with pytest.raises(BadRanges, match=why):
        read_ranges(body)


@pytest.mark.parametrize(
    ("before", "after", "problem"),
    [
        (["8.8.0.0/16"], ["8.8.0.0/16", "2600::/32"], ""),
        (["8.8.8.0/24"], ["8.8.8.0/22"], ""),
        (["8.8.8.0/24"], ["8.8.8.0/26"], ""),
        (["8.8.8.0/24"], ["8.8.0.0/20"], "16.0 times as many IPv4"),
        (["8.8.8.0/24"], ["8.8.8.0/28"], "6 % of the IPv4"),
        (["8.8.8.0/24", "2600::/32"], ["8.8.8.0/24"], "0 % of the IPv6"),
        (["2600::1/128"], ["2600::/64"], ""),
    ],
)
def test_a_list_grows_and_shrinks_by_a_factor_of_four_at_most(
    before: list[str], after: list[str], problem: str
) -> None:
    found = change_problem(before, after)
    assert (problem in found) if problem else not found
