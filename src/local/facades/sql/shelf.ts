/** Things that clients name by a key. What nobody asked for in a while goes by itself; the oldest goes where one too many comes. */
export type Shelf<T> = {
  /** False where it is full of things in use. */
  put(key: string, thing: T): boolean;
  get(key: string): T | undefined;
  remove(key: string): Promise<void>;
  /** Removes everything. */
  stop(): Promise<void>;
};

/** What is in use stays, whenever it was asked for. */
export type ShelfOptions<T> = { idleMs: number; most: number; isInUse(thing: T): boolean; letGo(thing: T): Promise<void> };

export function createShelf<T>({ idleMs, most, isInUse, letGo }: ShelfOptions<T>): Shelf<T> {
  const kept = new Map<string, { thing: T; idle: NodeJS.Timeout }>();
  const expire = (key: string) => {
    const { thing, idle } = kept.get(key)!;
    if (isInUse(thing)) idle.refresh();
    else void shelf.remove(key).catch(() => {});
  };
  const shelf: Shelf<T> = {
    put: (key, thing) => {
      if (kept.size >= most) {
        const [oldest] = [...kept].find(([, other]) => !isInUse(other.thing)) ?? [];
        if (oldest === undefined) return false;
        void shelf.remove(oldest).catch(() => {});
      }
      kept.set(key, { thing, idle: setTimeout(expire, idleMs, key).unref() });
      return true;
    },
    get: (key) => {
      const found = kept.get(key);
      found?.idle.refresh();
      return found?.thing;
    },
    remove: async (key) => {
      const found = kept.get(key);
      clearTimeout(found?.idle);
      kept.delete(key);
      if (found) await letGo(found.thing);
    },
    stop: async () => {
      await Promise.allSettled([...kept.keys()].map(shelf.remove));
    },
  };
  return shelf;
}
