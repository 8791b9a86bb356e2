import { quartz, type NextFire } from './quartz.ts';
import type { Settings } from './settings.ts';
import type { Job } from './state.ts';

/** Time as the engine sees it; `after` returns how to call the callback off. */
export type Clock = { now(): number; after(milliseconds: number, callback: () => void): () => void };

export type Schedules = {
  /** Sets, or sets anew, when the job fires by itself; a paused or unscheduled job does not. */
  arm(job: Job): void;
  disarm(jobId: number): void;
  stop(): void;
};

const unitMs = { HOURS: 3_600_000, DAYS: 86_400_000, WEEKS: 604_800_000 };

/** Fires jobs by their quartz schedule or periodic trigger. */
export function createSchedules(clock: Clock, fire: (job: Job) => void): Schedules {
  const armed = new Map<number, () => void>();

  function disarm(jobId: number): void {
    armed.get(jobId)?.();
    armed.delete(jobId);
  }

  function wait(job: Job, next: NextFire, afterMs: number): void {
    const due = next(afterMs);
    if (due === undefined) return void armed.delete(job.job_id);
    armed.set(job.job_id, clock.after(Math.max(0, due - clock.now()), () => {
      // A timer may ring early, or hours late after a sleep: the next moment lies after both.
      wait(job, next, Math.max(due, clock.now()));
      fire(job);
    }));
  }

  return {
    arm(job) {
      disarm(job.job_id);
      const next = nextFire(job.settings);
      if (next) wait(job, next, clock.now());
    },
    disarm,
    stop: () => [...armed.keys()].forEach(disarm),
  };
}

function nextFire({ schedule, trigger }: Settings): NextFire | undefined {
  if (schedule && schedule.pause_status !== 'PAUSED') return quartz(schedule.quartz_cron_expression, schedule.timezone_id);
  if (!trigger?.periodic || trigger.pause_status === 'PAUSED') return undefined;
  const everyMs = trigger.periodic.interval * unitMs[trigger.periodic.unit];
  return (afterMs) => afterMs + everyMs;
}

const longestTimerMs = 2 ** 31 - 1;

/** The machine's clock. */
export const systemClock: Clock = {
  now: Date.now,
  after(milliseconds, callback) {
    let timer: NodeJS.Timeout;
    const wait = (left: number) => {
      timer = setTimeout(() => (left > longestTimerMs ? wait(left - longestTimerMs) : callback()), Math.min(left, longestTimerMs));
      // A timer alone must not keep the platform from ending.
      timer.unref();
    };
    wait(milliseconds);
    return () => clearTimeout(timer);
  },
};
