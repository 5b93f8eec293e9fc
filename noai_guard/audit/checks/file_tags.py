"""Tags inside the audio, beside its headers. Codes A461 to A464; what contradicts other forms is in A501 to A503."""

from collections.abc import Iterator

from noai_guard.audit.finding import Finding, read_rules
from noai_guard.audit.interpretation import Interpretation
from noai_guard.audit.readers import header_values
from noai_guard.tagging.fields import POLICY, RESERVATION, USAGE

RULES = read_rules("file_tags")


def check(interpretation: Interpretation) -> Iterator[Finding]:
    audio, tags = interpretation.observations.audio, interpretation.audio_tags
    if audio is None or tags is None:
        return
    url = audio.get.url
    if tags.problem:
        yield RULES["unread"].at(url, tags.problem)
        return
    reservation = tags.values.get(RESERVATION, "0")
    if header_values.tdm_reservation(reservation) is None:
        yield RULES["value"].at(url, f"{RESERVATION}: {reservation}")
    if usage := tags.values.get(USAGE):
        for _, description in header_values.content_usage_value(usage).faults:
            yield RULES["value"].at(url, f"{USAGE}: {usage} ({description})")
    policies = audio.get.values("tdm-policy")
    if (policy := tags.values.get(POLICY)) and policies and policy not in policies:
        yield RULES["other-policy"].at(url, f"tag: {policy}; header: {policies[0]}")
    if not interpretation.tag_statements and interpretation.reserves_training(audio):
        yield RULES["silent"].at(url)
