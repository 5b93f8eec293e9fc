"""Envoy: quoting, and a folder of any name."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from noai_guard.compiled import CompiledPolicy
from noai_guard.config import load_catalog, load_stance
from noai_guard.errors import CannotExpress
from noai_guard.targets.plan import TargetPlan
from noai_guard.targets.servers.envoy import TARGET, quote
from tests.servers import free_port
from tests.targets.conformance import fetch
from tests.targets.web_servers import envoy_command, readable_folder, running


@settings(deadline=None)
@given(
    st.text(st.one_of(st.characters(codec="utf-8"), st.sampled_from("\"'\\{}[]:#,&*!|>%@`\n\r\t\x85\u2028\ufeff🎵")))
)
def test_no_text_breaks_out_of_a_yaml_string(text: str) -> None:
    assert yaml.safe_load(f"[{{filename: {quote(text)}}}]") == [{"filename": text}]


def test_a_text_that_no_configuration_can_contain_raises_an_error() -> None:
    with pytest.raises(CannotExpress):
        quote("\ud800")


def test_envoy_finds_the_judge_in_a_folder_of_any_name() -> None:
    plan = TargetPlan(CompiledPolicy(load_stance("no-ai"), load_catalog()))
    with readable_folder() as folder:
        root = folder / 'it\'s {a} "b": #c, \\d %e é\n- name: x'
        for file in TARGET.render(plan, str(root)):
            path = root / file.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(file.content)
        port = free_port()
        command = envoy_command(folder, port, free_port(), (root / "noai-guard" / "filter.yaml").read_text())
        with running(command, port, Path(folder)):
            assert fetch(port, "/", b"GPTBot/1.0").status == 403
