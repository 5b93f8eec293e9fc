"""Settings of property tests that must find the same examples in every run."""

from hypothesis import HealthCheck, Phase, settings

PROPERTY = settings(
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)
