"""What a dashboard is made of: boards, rows, panels and queries as data, and their rendering to Grafana's JSON."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from grafana_foundation_sdk.builders import bargauge, common, dashboard, prometheus, stat, table, timeseries
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as shape
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

SITE = 'job=~"$job",instance=~"$instance"'
"""What every query is limited to: the dashboard's choice of sites."""

_SOURCE = model.DataSourceRef("prometheus", "$datasource")


def series(metric: str, *matchers: str) -> str:
    return f"{metric}{{{','.join((SITE, *matchers))}}}"


def counted(chosen: str) -> str:
    """How much the counters rose in the time shown. A counter that is born in that time counts from zero:
    `increase` alone starts at its first sample, and would show nothing of a scraper that came once."""
    born = f'label_replace({chosen} unless {chosen} offset $__range, "born", "1", "", "")'
    return f"max without (born) ({born} or increase({chosen}[$__range]))"


def rate(chosen: str) -> str:
    """Per second."""
    return f"rate({chosen}[$__rate_interval])"


class Kind(StrEnum):
    FIGURE = "stat"
    CURVES = "timeseries"
    BARS = "bargauge"
    TABLE = "table"


class Unit(StrEnum):
    """Grafana's ids."""

    COUNT = "locale"
    BYTES = "bytes"
    BYTES_PER_SECOND = "Bps"
    PER_MINUTE = "reqpm"
    PER_SECOND = "reqps"
    SECONDS = "s"
    SHARE = "percentunit"
    STATE = "none"


@dataclass(frozen=True, slots=True)
class Query:
    """`legend` names each series; in a table it is the heading of the column of values."""

    expr: str
    legend: str


@dataclass(frozen=True, slots=True)
class Panel:
    """`id` is the panel's for ever: links and embeds hold it. `width` is in 24ths of the screen.

    `stacked` curves lie on one another; their axis reaches `at_least` so far, lest noise look like a mountain.
    `steps` are thresholds, from a value upwards a colour; `words` replace values by (text, colour); `colours` are
    those of single series; `columns` a table's labels and their headings, in order; `units` a table's columns'
    where they differ from `unit`.
    """

    id: int
    title: str
    description: str
    kind: Kind
    unit: Unit
    queries: tuple[Query, ...]
    width: int
    height: int = 8
    stacked: bool = False
    at_least: float | None = None
    steps: tuple[tuple[float | None, str], ...] = ((None, "blue"),)
    words: Mapping[str, tuple[str, str]] | None = None
    colours: Mapping[str, str] | None = None
    columns: Mapping[str, str] | None = None
    units: Mapping[str, Unit] | None = None


@dataclass(frozen=True, slots=True)
class Row:
    id: int
    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """A variable whose values are those of `label` in `chosen`. `All` means these values where they are `listed`,
    else anything: a query with fewer labels than `chosen` stays limited only by the list."""

    name: str
    title: str
    chosen: str
    label: str
    listed: bool = False


@dataclass(frozen=True, slots=True)
class Mark:
    """A line through all curves, where `expr` gives something."""

    name: str
    expr: str
    title: str
    colour: str


@dataclass(frozen=True, slots=True)
class Board:
    uid: str
    title: str
    description: str
    choices: tuple[Choice, ...]
    marks: tuple[Mark, ...]
    rows: tuple[Row, ...]

    @property
    def panels(self) -> tuple[Panel, ...]:
        return tuple(panel for row in self.rows for panel in row.panels)


def to_json(board: Board) -> str:
    built = (
        dashboard.Dashboard(board.title)
        .uid(board.uid)
        .description(board.description)
        .tags(["noai-guard"])
        .readonly()
        .timezone("browser")
        .time("now-6h", "now")
        .refresh("30s")
        .tooltip(model.DashboardCursorSync.CROSSHAIR)
        .link(
            dashboard.DashboardLink("Other dashboards")
            .type(model.DashboardLinkType.DASHBOARDS)
            .tags(["noai-guard"])
            .include_vars(True)
            .keep_time(True)
        )
        .with_variable(dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"))
    )
    for choice in board.choices:
        built.with_variable(_variable(choice))
    for mark in board.marks:
        built.annotation(_Annotation(mark))
    y = 0
    for row in board.rows:
        built.with_row(dashboard.Row(row.title).id(row.id).grid_pos(model.GridPos(h=1, w=24, x=0, y=y)))
        y += 1
        x = tallest = 0
        for panel in row.panels:
            if x + panel.width > 24:
                x, y, tallest = 0, y + tallest, 0
            built.with_panel(_panel(panel, model.GridPos(h=panel.height, w=panel.width, x=x, y=y)))
            x, tallest = x + panel.width, max(tallest, panel.height)
        y += tallest
    return JSONEncoder(sort_keys=True, indent=2).encode(built.build()) + "\n"


def _variable(choice: Choice) -> dashboard.QueryVariable:
    built = (
        dashboard.QueryVariable(choice.name)
        .label(choice.title)
        .datasource(_SOURCE)
        .query(f"label_values({choice.chosen}, {choice.label})")
        .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(model.VariableSort.ALPHABETICAL_CASE_INSENSITIVE_ASC)
        .multi(True)
        .include_all(True)
        .current(model.VariableOption(selected=True, text="All", value="$__all"))
    )
    return built if choice.listed else built.all_value(".*")


class _Annotation(Builder[model.AnnotationQuery]):
    """The SDK's annotation, and the fields it has no word for."""

    def __init__(self, mark: Mark) -> None:
        self._mark = mark

    def build(self) -> model.AnnotationQuery:
        annotation = _PrometheusAnnotation(
            name=self._mark.name, datasource=_SOURCE, icon_color=self._mark.colour, expr=self._mark.expr
        )
        annotation.title = self._mark.title
        return annotation


class _PrometheusAnnotation(model.AnnotationQuery):
    title = ""

    def to_json(self) -> dict[str, object]:
        return super().to_json() | {"titleFormat": self.title, "step": "", "useValueForTime": False}


def _panel(panel: Panel, place: model.GridPos) -> Any:
    built = _BUILDERS[panel.kind](panel)
    (
        built.id(panel.id)
        .title(panel.title)
        .description(panel.description)
        .datasource(_SOURCE)
        .unit(panel.unit)
        .thresholds(
            dashboard.ThresholdsConfig()
            .mode(model.ThresholdsMode.ABSOLUTE)
            .steps([model.Threshold(value, colour) for value, colour in panel.steps])
        )
        .grid_pos(place)
    )
    if panel.unit == Unit.COUNT:
        built.decimals(0)
    if panel.words:
        words = {
            value: model.ValueMappingResult(text=text, color=colour, index=index)
            for index, (value, (text, colour)) in enumerate(panel.words.items())
        }
        built.mappings([model.ValueMap(words)])
    for name, colour in (panel.colours or {}).items():
        fixed = {"mode": "fixed", "fixedColor": colour}
        built.override_by_name(name, [model.DynamicConfigValue("color", fixed)])
    for name, unit in (panel.units or {}).items():
        built.override_by_name(name, [model.DynamicConfigValue("unit", unit)])
    for ref, query in zip("ABCDEFGH", panel.queries, strict=False):
        built.with_target(_target(panel, ref, query))
    return built


def _target(panel: Panel, ref: str, query: Query) -> prometheus.Dataquery:
    target = prometheus.Dataquery().ref_id(ref).datasource(_SOURCE).expr(query.expr).legend_format(query.legend)
    if panel.kind is Kind.CURVES:
        return target.range()
    target.instant()
    return target.format(PromQueryFormat.TABLE) if panel.kind is Kind.TABLE else target


def _figure(panel: Panel) -> stat.Panel:
    return (
        stat.Panel()
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .graph_mode(shape.BigValueGraphMode.NONE)
        .color_mode(shape.BigValueColorMode.VALUE)
        .justify_mode(shape.BigValueJustifyMode.AUTO)
    )


def _curves(panel: Panel) -> timeseries.Panel:
    built = (
        timeseries.Panel()
        .color_scheme(dashboard.FieldColor().mode(model.FieldColorModeId.PALETTE_CLASSIC))
        .line_width(1 if panel.stacked else 2)
        .fill_opacity(45 if panel.stacked else 8)
        .show_points(shape.VisibilityMode.NEVER)
        .min(0)
        .legend(
            common.VizLegendOptions()
            .display_mode(shape.LegendDisplayMode.LIST)
            .placement(shape.LegendPlacement.BOTTOM)
            .show_legend(True)
        )
        .tooltip(common.VizTooltipOptions().mode(shape.TooltipDisplayMode.MULTI).sort(shape.SortOrder.DESCENDING))
    )
    if panel.at_least is not None:
        built.axis_soft_max(panel.at_least)
    if panel.stacked:
        built.stacking(common.StackingConfig().mode(shape.StackingMode.NORMAL))
    return built


def _bars(panel: Panel) -> bargauge.Panel:
    return (
        bargauge.Panel()
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .orientation(shape.VizOrientation.HORIZONTAL)
        .display_mode(shape.BarGaugeDisplayMode.BASIC)
        .min(0)
    )


def _table(panel: Panel) -> table.Panel:
    columns = dict(panel.columns or {})
    values = {f"Value #{ref}": query.legend for ref, query in zip("ABCDEFGH", panel.queries, strict=False)}
    if len(panel.queries) == 1:
        values = {"Value": panel.queries[0].legend}
    names = columns | values
    organized = {
        "excludeByName": {"Time": True} | {value: True for value, heading in values.items() if not heading},
        "indexByName": {name: place for place, name in enumerate(names)},
        "renameByName": {name: heading for name, heading in names.items() if heading},
    }
    built = table.Panel().cell_height(shape.TableCellHeight.SM)
    built.with_transformation(model.DataTransformerConfig("merge", options={}))
    built.with_transformation(model.DataTransformerConfig("organize", options=organized))
    first = next((query.legend for query in panel.queries if query.legend), "")
    if first:
        built.sort_by([common.TableSortByFieldState().display_name(first).desc(True)])
    return built


_BUILDERS: dict[Kind, Any] = {
    Kind.FIGURE: _figure,
    Kind.CURVES: _curves,
    Kind.BARS: _bars,
    Kind.TABLE: _table,
}
