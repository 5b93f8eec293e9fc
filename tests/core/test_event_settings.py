import pytest

from noai_guard.core.event_settings import SyslogAddress, days_in, syslog_address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("syslog:/dev/log", SyslogAddress("/dev/log")),
        ("syslog://logs.example", SyslogAddress("", "logs.example", 514)),
        ("syslog://logs.example:1514", SyslogAddress("", "logs.example", 1514)),
        ("syslog://[2001:db8::1]:514", SyslogAddress("", "2001:db8::1", 514)),
        ("syslog://logs.example:65536", None),
        ("syslog:/" + "a" * 100, None),
        ("syslog:log", None),
        ("syslog://", None),
        ("syslog://a b", None),
        ("udp://logs.example", None),
    ],
)
def test_an_address_of_syslog_is_a_socket_or_a_host(text: str, address: SyslogAddress | None) -> None:
    assert syslog_address(text) == address


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("1 day", 1),
        ("90days", 90),
        ("6 weeks", 42),
        ("12 Months", 372),
        ("2 years", 732),
        ("0 days", None),
        ("12", None),
        ("1.5 years", None),
        ("forever", None),
    ],
)
def test_a_time_is_a_number_of_days_weeks_months_or_years(text: str, days: int | None) -> None:
    assert days_in(text) == days
