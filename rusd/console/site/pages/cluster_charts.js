// Charts of the member's own samples: the last 15 minutes, which the member kept, and on.

import uPlot from "../lib/uplot.js";
import { ErrorNote, html, useEffect, useMemo, usePolling, useRef, useState } from "../parts.js";
import { data } from "../api.js";
import { formatSize, formatTime } from "../text.js";

/** Milliseconds that a chart spans. */
const SPAN = 15 * 60 * 1000;
/** Seconds that a chart spans at least. */
const SHORTEST = 120;
const HEIGHT = 140;

const rate = (value) => `${short(value)}/s`;
const milliseconds = (value) => `${short(value)} ms`;

/** Series are names of the page `samples`; a chart shows those that the member has. */
const CHARTS = [
  {
    title: "Requests",
    format: rate,
    series: { ranges_per_s: "ranges", puts_per_s: "puts", txns_per_s: "txns", deletes_per_s: "deletes" },
  },
  {
    title: "Latency of reads and writes",
    format: milliseconds,
    series: {
      read_p50_ms: "read p50",
      read_p99_ms: "read p99",
      write_p50_ms: "write p50",
      write_p99_ms: "write p99",
    },
  },
  {
    title: "Latency of the disk",
    format: milliseconds,
    series: {
      wal_fsync_p50_ms: "WAL fsync p50",
      wal_fsync_p99_ms: "WAL fsync p99",
      backend_commit_p50_ms: "commit p50",
      backend_commit_p99_ms: "commit p99",
    },
  },
  {
    title: "Watches and leases",
    format: short,
    series: { watchers: "watchers", streams: "watch streams", leases: "leases" },
  },
  {
    title: "Changes",
    format: rate,
    series: { proposals_per_s: "committed entries", watch_events_per_s: "events sent" },
  },
  {
    title: "Behind the log",
    format: short,
    series: { lag_entries: "entries to apply" },
  },
  {
    title: "Traffic of clients",
    format: (value) => `${formatSize(value)}/s`,
    series: { received_bytes_per_s: "in", sent_bytes_per_s: "out" },
  },
  {
    title: "Memory and database",
    format: formatSize,
    series: { rss_bytes: "memory", db_size_bytes: "database", db_in_use_bytes: "in use" },
  },
  { title: "CPU", format: (value) => `${short(value)}%`, series: { cpu_percent: "of one core" } },
];

function short(value) {
  if (value >= 9999.5) return `${Math.round(value / 100) / 10}k`;
  return value >= 99.5 ? String(Math.round(value)) : String(Number(value.toPrecision(2)));
}

/** Hours and minutes of a Unix time, and seconds of a part of a minute. */
function clock(time) {
  return formatTime(time * 1000).slice(11, time % 60 === 0 ? 16 : 19);
}

/** Keeps the samples of the last `SPAN`, asking only for those that are new. */
function useSamples() {
  const kept = useRef({ names: [], rows: [], interval: 0 });
  return usePolling(async () => {
    const last = kept.current;
    const since = last.rows.length ? last.rows.at(-1)[0] : 0;
    const { names, rows, interval } = await data("samples", { since });
    const same = names.join() === last.names.join();
    const all = same ? [...last.rows, ...rows.filter(([time]) => time > since)] : rows;
    const end = all.length ? all.at(-1)[0] : 0;
    kept.current = { names, interval, rows: all.filter(([time]) => time > end - SPAN) };
    return kept.current;
  }, 2000);
}

/** Colours as the browser has them for the theme: a canvas knows no variables. */
function colours(element) {
  const probe = document.createElement("span");
  element.append(probe);
  const read = (name) => {
    probe.style.color = `var(${name})`;
    return getComputedStyle(probe).color;
  };
  const found = {
    dim: read("--dim"),
    line: read("--line"),
    series: ["--series-1", "--series-2", "--series-3", "--series-4"].map(read),
  };
  probe.remove();
  return found;
}

/** Counts changes of the theme, by the switch or by the system. */
function useTheme() {
  const [theme, setTheme] = useState(0);
  useEffect(() => {
    const changed = () => setTheme((count) => count + 1);
    const system = matchMedia("(prefers-color-scheme: dark)");
    addEventListener("themechange", changed);
    system.addEventListener("change", changed);
    return () => {
      removeEventListener("themechange", changed);
      system.removeEventListener("change", changed);
    };
  }, []);
  return theme;
}

function options({ labels, format, width, paint, onCursor }) {
  const axis = { stroke: paint.dim, font: "11px system-ui", grid: { stroke: paint.line, width: 1 }, ticks: { show: false } };
  return {
    width,
    height: HEIGHT,
    legend: { show: false },
    cursor: { sync: { key: "samples" }, points: { size: 5 }, drag: { x: false, y: false }, y: false },
    scales: {
      // (A member that has just started has a short past.)
      x: { range: (_plot, min, max) => [Math.max(Math.min(min, max - SHORTEST), max - SPAN / 1000), max] },
      y: { range: (_plot, _min, max) => [0, max > 0 ? max * 1.1 : 1] },
    },
    axes: [
      { ...axis, space: 70, size: 28, values: (_plot, ticks) => ticks.map(clock) },
      { ...axis, size: 60, values: (_plot, ticks) => ticks.map(format) },
    ],
    series: [
      {},
      ...labels.map((label, index) => ({
        label,
        stroke: paint.series[index],
        width: 1.5,
        // Without calls there is no duration.
        spanGaps: true,
        points: { show: false },
      })),
    ],
    hooks: { setCursor: [(plot) => onCursor(plot.cursor.idx ?? null)] },
  };
}

function Chart({ title, format, keys, labels, samples, theme }) {
  const place = useRef(null);
  const plot = useRef(null);
  const [cursor, setCursor] = useState(null);
  const columns = useMemo(() => {
    const at = keys.map((key) => samples.names.indexOf(key) + 1);
    const times = samples.rows.map(([time]) => time / 1000);
    return [times, ...at.map((column) => samples.rows.map((row) => row[column]))];
  }, [samples]);
  useEffect(() => {
    const width = () => Math.max(200, place.current.clientWidth);
    const paint = colours(place.current);
    const settings = options({ labels, format, width: width(), paint, onCursor: setCursor });
    plot.current = new uPlot(settings, columns, place.current);
    const resized = new ResizeObserver(() => plot.current.setSize({ width: width(), height: HEIGHT }));
    resized.observe(place.current);
    return () => {
      resized.disconnect();
      plot.current.destroy();
    };
  }, [theme, keys.join()]);
  useEffect(() => plot.current.setData(columns), [columns]);
  const shown = cursor === null || cursor >= columns[0].length ? columns[0].length - 1 : cursor;
  const value = (column) => (column[shown] == null ? "–" : format(column[shown]));
  return html`<figure class="chart card">
    <figcaption>
      <h3>${title}</h3>
      <span class="dim">${cursor === null ? "" : formatTime(columns[0][shown] * 1000).slice(11)}</span>
    </figcaption>
    <div ref=${place} class="plot" aria-hidden="true"></div>
    <ul class="legend">
      ${labels.map(
        (label, index) =>
          html`<li key=${label} class=${`series-${index + 1}`}>
            <span class="dim">${label}</span> ${value(columns[index + 1])}
          </li>`,
      )}
    </ul>
  </figure>`;
}

/** All charts, of the member that serves this page. */
export default function Charts({ name }) {
  const { value, error } = useSamples();
  const theme = useTheme();
  const shown = useMemo(() => {
    const known = ({ series }) => Object.keys(series).filter((key) => value?.names.includes(key));
    return CHARTS.map((chart) => ({ ...chart, keys: known(chart) })).filter(({ keys }) => keys.length);
  }, [value?.names.join()]);
  return html`<section aria-label="Charts">
    <h2>${name}, last 15 minutes</h2>
    <${ErrorNote} error=${error} />
    ${value && value.rows.length === 0 && html`<p class="dim">No samples yet.</p>`}
    <div class="charts">
      ${value &&
      value.rows.length > 0 &&
      shown.map(
        ({ title, format, keys, series }) =>
          html`<${Chart}
            key=${title}
            title=${title}
            format=${format}
            keys=${keys}
            labels=${keys.map((key) => series[key])}
            samples=${value}
            theme=${theme}
          />`,
      )}
    </div>
  </section>`;
}
