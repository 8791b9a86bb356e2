/** Things that clients name by a key; what nobody has used for a while goes by itself, and the idlest goes where one too many comes. */
export type Shelf<T> = {
  /** False where it is full of things in use. */
  put(key: string, thing: T): boolean;
  /** The thing, which counts as used now. */
  get(key: string): T | undefined;
  remove(key: string): Promise<void>;
  /** Lets go of what has been idle for too long; also done every minute. */
  sweep(): void;
  /** Lets go of everything. */
  stop(): Promise<void>;
};

export type ShelfOptions<T> = {
  idleMs: number;
  most: number;
  letGo(thing: T): Promise<void>;
  /** What is in use is not idle, whenever it was asked for last. */
  isInUse(thing: T): boolean;
  now?: () => number;
};

const SWEEP_MS = 60_000;

export function createShelf<T>({ idleMs, most, letGo, isInUse, now = Date.now }: ShelfOptions<T>): Shelf<T> {
  // The idlest comes first.
  const kept = new Map<string, { thing: T; usedAt: number }>();
  const idlest = () => [...kept].find(([, { thing }]) => !isInUse(thing));
  const timer = setInterval(() => shelf.sweep(), SWEEP_MS);
  timer.unref();
  const use = (key: string, thing: T) => {
    kept.delete(key);
    kept.set(key, { thing, usedAt: now() });
  };
  const shelf: Shelf<T> = {
    put: (key, thing) => {
      if (kept.size >= most) {
        const [idle] = idlest() ?? [];
        if (idle === undefined) return false;
        void shelf.remove(idle);
      }
      use(key, thing);
      return true;
    },
    get: (key) => {
      const thing = kept.get(key)?.thing;
      if (thing !== undefined) use(key, thing);
      return thing;
    },
    remove: async (key) => {
      const found = kept.get(key);
      kept.delete(key);
      if (found) await letGo(found.thing);
    },
    sweep: () => {
      for (const [key, { thing, usedAt }] of kept) if (now() - usedAt > idleMs && !isInUse(thing)) void shelf.remove(key).catch(() => {});
    },
    stop: async () => {
      clearInterval(timer);
      await Promise.allSettled([...kept.keys()].map(shelf.remove));
    },
  };
  return shelf;
}
