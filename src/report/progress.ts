import type { Progress } from '../command.ts';
import { width } from './text.ts';

type Sink = { isTTY?: boolean; columns?: number; write(text: string): unknown };

export type ProgressOptions = {
  sink: Sink;
  /** False in CI and off a terminal: lines only, and updates at most every `quietMs`. */
  animate: boolean;
  now?: () => number;
  quietMs?: number;
};

/** Progress on stderr: on a terminal the running stage's line is redrawn; elsewhere each line stands alone, and updates are throttled. */
export function createProgress(options: ProgressOptions): Progress & { end(): void } {
  const { sink, animate, now = () => performance.now(), quietMs = 5000 } = options;
  let stage = '';
  let startedAt = now();
  let saidAt = now();
  let open = false;
  const clear = (): void => {
    if (open) sink.write('\r\u001b[2K');
    open = false;
  };
  const line = (text: string): void => {
    clear();
    sink.write(`${text}\n`);
    saidAt = now();
  };
  const endStage = (): void => {
    if (stage !== '' && animate) line(`✔ ${stage}  ${seconds(now() - startedAt)}`);
    stage = '';
  };
  return {
    stage(name) {
      endStage();
      stage = name;
      startedAt = now();
      if (animate) redraw('');
      else line(`• ${name}`);
    },
    update(text) {
      if (animate) redraw(text);
      else if (now() - saidAt >= quietMs) line(`  ${text}`);
    },
    note: (text) => line(animate ? `  ${text}` : `  ${text}`),
    warn: (text) => line(`! ${text}`),
    end: endStage,
  };

  function redraw(text: string): void {
    clear();
    const shown = `… ${stage}${text === '' ? '' : `  ${text}`}  ${seconds(now() - startedAt)}`;
    sink.write(cut(shown, (sink.columns ?? 80) - 1));
    open = true;
  }
}

/** A duration as a person reads it: `0.4 s`, `12 s`, `3 min 05 s`. */
export function seconds(milliseconds: number): string {
  const whole = Math.round(milliseconds / 1000);
  if (milliseconds < 10_000) return `${(milliseconds / 1000).toFixed(1)} s`;
  return whole < 60 ? `${whole} s` : `${Math.floor(whole / 60)} min ${String(whole % 60).padStart(2, '0')} s`;
}

function cut(text: string, columns: number): string {
  let kept = '';
  for (const char of text) {
    if (width(kept + char) > columns) return kept;
    kept += char;
  }
  return kept;
}
