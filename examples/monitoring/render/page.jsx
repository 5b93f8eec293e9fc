// One dashboard: its JSON and its data, in window.given, drawn with Grafana's components.

import "@fontsource/inter/400.css";
import "@fontsource/inter/500.css";

import { useEffect, useState } from "react";
import { createRoot } from "react-dom/client";

// Not imported: in their ES modules (.mjs) a CommonJS dependency's default export is its whole module.
const {
  FieldConfigOptionsRegistry, FieldType, applyFieldOverrides, createTheme, dateTime, getFieldDisplayValues,
  getDisplayValueAlignmentFactors, standardTransformers, standardTransformersRegistry, toDataFrame, transformDataFrame,
} = require("@grafana/data");
const { BarGauge, BigValue, GlobalStyles, PanelChrome, Table, ThemeContext, TimeSeries, VizRepeater } = require("@grafana/ui");

const MARGIN = 8;
const CELL = { width: (1500 - 2 * MARGIN) / 24, height: 38 };
const GAP = 8;
const { dashboard, panels, marks, from, to, step } = window.given;
const theme = createTheme({ colors: { mode: "dark" } });
const timeRange = { from: dateTime(from * 1000), to: dateTime(to * 1000), raw: { from: "now-15m", to: "now" } };

standardTransformersRegistry.setInit(() =>
  [standardTransformers.mergeTransformer, standardTransformers.organizeFieldsTransformer].map((transformation) => ({
    id: transformation.id, name: transformation.name, transformation: async () => transformation,
  })),
);

const plain = (id) => ({
  id, path: id, name: id, editor: () => null, override: () => null, process: (value) => value, shouldApply: () => true,
});
const properties = ["unit", "decimals", "min", "max", "color", "thresholds", "mappings", "displayName", "noValue"];
const registry = new FieldConfigOptionsRegistry(() => properties.map(plain));

const named = (legend, labels) => legend.replace(/\{\{(\w+)\}\}/g, (_, label) => labels[label] ?? "");

// Every point of the grid, so that a pause is a gap and stacked curves meet.
const grid = Array.from({ length: Math.floor((to - from) / step) + 1 }, (_, place) => from + place * step);

function curve({ legend }, { metric, values }) {
  const found = new Map(values.filter(([, value]) => value !== "NaN").map(([time, value]) => [time, Number(value)]));
  return toDataFrame({
    fields: [
      { name: "Time", type: FieldType.time, values: grid.map((time) => time * 1000) },
      {
        name: "Value", type: FieldType.number, labels: metric, config: { displayNameFromDS: named(legend, metric) },
        values: grid.map((time) => found.get(time) ?? null),
      },
    ],
  });
}

function rows({ ref, result }, alone) {
  const labels = [...new Set(result.flatMap(({ metric }) => Object.keys(metric)))].sort();
  return toDataFrame({
    refId: ref,
    fields: [
      { name: "Time", type: FieldType.time, values: result.map(() => to * 1000) },
      ...labels.map((label) => ({
        name: label, type: FieldType.string, values: result.map(({ metric }) => metric[label] ?? ""),
      })),
      {
        name: alone ? "Value" : `Value #${ref}`, type: FieldType.number,
        values: result.map(({ value }) => Number(value[1])),
      },
    ],
  });
}

function value({ legend }, { metric, value: [, number] }) {
  const config = { displayNameFromDS: named(legend, metric) };
  return toDataFrame({ fields: [{ name: "Value", type: FieldType.number, labels: metric, config, values: [Number(number)] }] });
}

function framesOf(panel) {
  const targets = panels[panel.id];
  if (panel.type === "table") return targets.map((target) => rows(target, targets.length === 1));
  const make = panel.type === "timeseries" ? curve : value;
  return targets.flatMap((target) => target.result.map((series) => make(target, series)));
}

function configured(panel, frames) {
  const applied = applyFieldOverrides({
    data: frames, fieldConfig: panel.fieldConfig, replaceVariables: (text) => text, theme, timeZone: "utc",
    fieldConfigRegistry: registry,
  });
  for (const frame of applied) {
    for (const field of frame.fields) field.config.custom = { ...panel.fieldConfig.defaults.custom, ...field.config.custom };
  }
  return applied;
}

const displayValues = (panel, data) =>
  getFieldDisplayValues({
    data, theme, fieldConfig: panel.fieldConfig, reduceOptions: panel.options.reduceOptions,
    replaceVariables: (text) => text, timeZone: "utc",
  });

function Figure({ panel, data, width, height }) {
  const [{ display }] = displayValues(panel, data);
  const { colorMode, graphMode, justifyMode } = panel.options;
  return <BigValue {...{ width, height, theme, colorMode, graphMode, justifyMode }} value={display} textMode="value" />;
}

function Bars({ panel, data, width, height }) {
  const values = displayValues(panel, data).sort((one, other) => other.display.numeric - one.display.numeric);
  const max = Math.max(...values.map(({ display }) => display.numeric));
  return (
    <VizRepeater
      source={values} getValues={() => values} getAlignmentFactors={getDisplayValueAlignmentFactors} renderCounter={0} orientation="horizontal" {...{ width, height }}
      itemSpacing={6}
      renderValue={({ value: { display, field }, width, height, alignmentFactors }) => (
        <BarGauge
          {...{ width, height, theme, alignmentFactors }} value={display} field={{ ...field, min: 0, max }} orientation="horizontal"
          displayMode={panel.options.displayMode} valueDisplayMode="color" namePlacement="auto" showUnfilled
        />
      )}
    />
  );
}

function Curves({ panel, data, width, height }) {
  const draw = (builder) => {
    builder.addHook("draw", (plot) => {
      const { ctx, bbox } = plot;
      for (const { colour, times } of marks) {
        ctx.strokeStyle = theme.visualization.getColorByName(colour);
        ctx.lineWidth = 2;
        ctx.setLineDash([4, 3]);
        for (const time of times) {
          const x = plot.valToPos(time * 1000, "x", true);
          ctx.beginPath();
          ctx.moveTo(x, bbox.top);
          ctx.lineTo(x, bbox.top + bbox.height);
          ctx.stroke();
        }
        ctx.setLineDash([]);
      }
    });
    return null;
  };
  return (
    <TimeSeries frames={data} legend={panel.options.legend} {...{ width, height, timeRange }} timeZone="utc">
      {draw}
    </TimeSeries>
  );
}

function Rows({ panel, data, width, height }) {
  const [frame, setFrame] = useState(null);
  useEffect(() => {
    const found = transformDataFrame(panel.transformations, data).subscribe((frames) => setFrame(configured(panel, frames)[0]));
    return () => found.unsubscribe();
  }, []);
  return frame && <Table {...{ width, height }} data={frame} initialSortBy={panel.options.sortBy} cellHeight="sm" />;
}

const KINDS = { stat: Figure, bargauge: Bars, timeseries: Curves, table: Rows };

function Place({ panel }) {
  const { x, y, w, h } = panel.gridPos;
  const place = { position: "absolute", left: x * CELL.width + GAP / 2, top: y * CELL.height + GAP / 2 };
  if (panel.type === "row") {
    return <div style={{ ...place, paddingTop: 8, fontSize: 15, color: theme.colors.text.primary }}>{panel.title}</div>;
  }
  const Kind = KINDS[panel.type];
  const frames = framesOf(panel);
  const data = panel.type === "table" ? frames : configured(panel, frames);
  return (
    <div style={place}>
      <PanelChrome title={panel.title} width={w * CELL.width - GAP} height={h * CELL.height - GAP}>
        {(width, height) =>
          frames.length ? <Kind {...{ panel, data, width, height }} /> : <center>No data</center>
        }
      </PanelChrome>
    </div>
  );
}

function Page() {
  return (
    <ThemeContext.Provider value={theme}>
      <GlobalStyles />
      <style>{"body { margin: 0; overflow: hidden; }"}</style>
      <div style={{ padding: "14px 12px 0", height: 76 }}>
        <h1 style={{ fontSize: 22, margin: 0 }}>{dashboard.title}</h1>
        <div style={{ color: theme.colors.text.secondary }}>{dashboard.description}</div>
      </div>
      <div style={{ position: "relative", margin: `0 ${MARGIN}px` }}>
        {dashboard.panels.map((panel) => <Place key={panel.id} panel={panel} />)}
      </div>
    </ThemeContext.Provider>
  );
}

// Widths are measured when a panel is drawn, so the font has to be there before.
Promise.all(["400 12px Inter", "500 12px Inter"].map((font) => document.fonts.load(font))).then(() =>
  createRoot(document.getElementById("root")).render(<Page />),
);
