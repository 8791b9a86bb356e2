import { invalid } from '../refusal.ts';
import { quartz } from './quartz.ts';
import type { NextFire } from './quartz.ts';
import type { Clock } from './scheduler.ts';
import type { Job, Settings } from './state.ts';

export type Schedules = {
  /** Sets, or sets anew, when the job fires by itself; a paused or unscheduled job does not. */
  arm(job: Job): void;
  disarm(jobId: number): void;
  stop(): void;
};

const unitMs: Record<string, number> = { HOURS: 3_600_000, DAYS: 86_400_000, WEEKS: 604_800_000 };

/** Fires jobs by their quartz schedule or periodic trigger. */
export function createSchedules(clock: Clock, fire: (job: Job) => void): Schedules {
  const armed = new Map<number, () => void>();

  function disarm(jobId: number): void {
    armed.get(jobId)?.();
    armed.delete(jobId);
  }

  function arm(job: Job): void {
    disarm(job.job_id);
    const next = nextFire(job.settings);
    if (next) wait(job, next, clock.now());
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

  return { arm, disarm, stop: () => [...armed.keys()].forEach(disarm) };
}

/** 400 for a schedule that cannot be computed, or a trigger that would silently never fire here. */
export function checkSchedule(settings: Settings): void {
  if (settings.schedule) quartz(String(settings.schedule.quartz_cron_expression), String(settings.schedule.timezone_id));
  nextFire(settings);
  const { trigger, continuous } = settings as { trigger?: Settings['trigger']; continuous?: { pause_status?: string } };
  const foreign = trigger && !trigger.periodic ? trigger : continuous;
  if (foreign && foreign.pause_status !== 'PAUSED') {
    throw invalid('The local platform fires schedule and trigger.periodic; set pause_status: PAUSED on any other trigger, or on continuous.');
  }
}

function nextFire({ schedule, trigger }: Settings): NextFire | undefined {
  if (schedule && schedule.pause_status !== 'PAUSED') return quartz(schedule.quartz_cron_expression, schedule.timezone_id);
  if (!trigger?.periodic || trigger.pause_status === 'PAUSED') return undefined;
  const everyMs = trigger.periodic.interval * (unitMs[trigger.periodic.unit] ?? Number.NaN);
  if (!(everyMs > 0) || !Number.isInteger(trigger.periodic.interval)) throw invalid('trigger.periodic needs an interval of 1 or more and a unit of HOURS, DAYS or WEEKS.');
  return (afterMs) => afterMs + everyMs;
}
