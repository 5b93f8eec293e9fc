"""Assertions in `asks` say what they compare."""

import pytest

pytest.register_assert_rewrite("asks")
