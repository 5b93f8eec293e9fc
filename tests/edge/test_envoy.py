"""What Envoy alone has: quoting, and a folder of any name."""

from pathlib import Path

import pytest
import yaml
from conformance import ask
from hypothesis import given, settings
from hypothesis import strategies as st
from web_servers import envoy_command, readable_folder, running

from noai_guard.edge.envoy import TARGET, quote
from noai_guard.edge.plan import EdgePlan
from noai_guard.errors import CannotExpress
from noai_guard.front import Front
from noai_guard.loading import load_catalog, load_stance
from tests.servers import free_port


@settings(deadline=None)
@given(st.text(st.one_of(st.characters(codec="utf-8"), st.sampled_from("\"'\\{}[]:#,&*!|>%@`\n\r\t\x85\u2028\ufeff🎵"))))
def test_no_text_breaks_out_of_a_yaml_string(text: str) -> None:
    assert yaml.safe_load(f"[{{filename: {quote(text)}}}]") == [{"filename": text}]


def test_what_cannot_stand_in_a_configuration_is_said() -> None:
    with pytest.raises(CannotExpress):
        quote("\ud800")


def test_envoy_finds_the_judge_in_a_folder_of_any_name() -> None:
    plan = EdgePlan(Front(load_stance("no-ai"), load_catalog()))
    with readable_folder() as folder:
        root = folder / "it's {a} \"b\": #c, \\d %e é\n- name: x"
        for file in TARGET.render(plan, str(root)):
            path = root / file.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(file.content)
        port = free_port()
        command = envoy_command(folder, port, free_port(), (root / "noai-guard" / "filter.yaml").read_text())
        with running(command, port, Path(folder)):
            assert ask(port, "/", b"GPTBot/1.0").status == 403
