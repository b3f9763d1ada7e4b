import { useEffect, useRef, useState } from 'preact/hooks';
import uPlot from 'uplot';
import { timeOfDay } from './format.js';

export interface PlotLine {
  readonly label: string;
  /** Of the palette in page.css: `--line-1`. */
  readonly color: string;
  readonly values: readonly (number | null)[];
}

export interface PlotProps {
  readonly title: string;
  /** Seconds since the Unix epoch. */
  readonly times: readonly number[];
  /** How many seconds are shown. */
  readonly span: number;
  readonly lines: readonly PlotLine[];
  readonly format: (value: number) => string;
  readonly height: number;
  /** Each step up is ten times as much: for values of very different sizes. */
  readonly logarithmic?: boolean;
  /** Beside the title: a figure of its own. */
  readonly note?: string;
}

/** A plot that moves with the time. Above it, each line's value now, or at the pointer, which all plots share. */
export function Plot({ title, times, span, lines, format, height, logarithmic = false, note }: PlotProps) {
  const [at, setAt] = useState<number | null>(null);
  const index = at !== null && at < times.length ? at : times.length - 1;
  const shown = (line: PlotLine) => {
    const value = line.values[index];
    return value === null || value === undefined ? '–' : format(value);
  };
  const summary = lines.map((line) => `${line.label} ${shown(line)}`).join(', ');
  return (
    <section class="panel plot">
      <header>
        <h2>{title}</h2>
        {note !== undefined && <span class="note">{note}</span>}
        <dl class="legend">
          {lines.map((line) => (
            <div key={line.label}>
              <dt>
                <i class={`key ${line.color.slice(2)}`} />
                {line.label}
              </dt>
              <dd>{shown(line)}</dd>
            </div>
          ))}
        </dl>
      </header>
      <div
        class="canvas"
        role="img"
        aria-label={`${title} over the last ${span / 60} minutes; now ${summary}`}
      >
        <Canvas {...{ times, span, lines, format, height, logarithmic, onPoint: setAt }} />
      </div>
    </section>
  );
}

/** Seconds between two marks of time. */
const STEPS = [5, 10, 15, 30, 60, 120, 300, 600];

interface CanvasProps
  extends Pick<PlotProps, 'times' | 'span' | 'lines' | 'format' | 'height' | 'logarithmic'> {
  readonly onPoint: (index: number | null) => void;
}

function Canvas({ times, span, lines, format, height, logarithmic, onPoint }: CanvasProps) {
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const range = useRef(span);
  range.current = span;
  const data = [times, ...lines.map((line) => line.values)] as unknown as uPlot.AlignedData;

  useEffect(() => {
    const element = box.current!;
    const made = new uPlot(
      options(
        { lines, format, logarithmic },
        { width: element.clientWidth, height },
        () => range.current,
        onPoint,
      ),
      data,
      element,
    );
    plot.current = made;
    const resized = new ResizeObserver(() => made.setSize({ width: element.clientWidth, height }));
    resized.observe(element);
    return () => {
      resized.disconnect();
      made.destroy();
    };
    // A plot is made once; what it shows is set below. Another theme mounts another one.
  }, []);
  useEffect(() => plot.current?.setData(data), [times, span]);
  return <div ref={box} />;
}

function options(
  { lines, format, logarithmic }: Pick<PlotProps, 'lines' | 'format' | 'logarithmic'>,
  size: { width: number; height: number },
  span: () => number,
  onPoint: (index: number | null) => void,
): uPlot.Options {
  const style = getComputedStyle(document.documentElement);
  const color = (name: string) => style.getPropertyValue(name).trim();
  const axis: uPlot.Axis = {
    stroke: color('--muted'),
    font: `11px ${color('--sans')}`,
    grid: { stroke: color('--grid'), width: 1 },
    ticks: { show: false },
  };
  return {
    ...size,
    padding: [8, 14, 0, 0],
    legend: { show: false },
    cursor: {
      y: false,
      points: { size: 6 },
      drag: { x: false, y: false },
      sync: { key: 'time', setSeries: false },
    },
    scales: {
      x: { time: true, range: (_plot, _min, max) => [max - span(), max] },
      y: logarithmic ? { distr: 3 } : { range: (_plot, _min, max) => [0, max > 0 ? max * 1.1 : 1] },
    },
    axes: [
      {
        ...axis,
        size: 22,
        gap: 4,
        // Seconds take more room than minutes.
        space: (_plot, _axis, min, max) => (max - min <= 60 ? 80 : 54),
        incrs: STEPS,
        values: (_plot, ticks) => ticks.map((tick) => timeOfDay(tick * 1000)),
      },
      {
        ...axis,
        ...(logarithmic && { grid: { ...axis.grid, filter: (_plot, splits) => splits.map(onlyDecades) } }),
        size: 58,
        gap: 6,
        space: 34,
        values: (_plot, ticks) => ticks.map((tick) => (tick === 0 ? '0' : tick === null ? '' : format(tick))),
      },
    ],
    series: [
      {},
      ...lines.map(({ label, color: name }) => ({
        label,
        stroke: color(name),
        width: 1.5,
        ...(lines.length === 1 && { fill: color(`${name}-fill`) }),
        points: { show: false },
      })),
    ],
    hooks: { setCursor: [(plot) => onPoint(plot.cursor.idx ?? null)] },
  };
}

function onlyDecades(value: number): number | null {
  return Number.isInteger(Math.round(Math.log10(value) * 1e6) / 1e6) ? value : null;
}
