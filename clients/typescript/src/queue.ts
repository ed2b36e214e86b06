/** A queue between events that come and a loop that takes them. */
export interface Queue<T> extends AsyncIterator<T, undefined> {
  /** push adds an item; false: the queue was full, and the oldest is gone. */
  push(item: T): boolean;
  /** end lets the loop take what is left, and then end, with an error if there is one. */
  end(error?: unknown): void;
  return(): Promise<IteratorResult<T, undefined>>;
}

/** createQueue returns a queue for at most `limit` items. onReturn is called when the loop is left. */
export function createQueue<T>(limit: number, onReturn: () => void): Queue<T> {
  let items: T[] = [];
  let head = 0; // items before it are taken
  let over = false;
  let error: unknown;
  let takers: (() => void)[] = []; // that wait
  const done = { value: undefined, done: true } as const;

  const wake = (): void => {
    const all = takers;
    takers = [];
    for (const taker of all) taker();
  };

  const queue: Queue<T> = {
    push(item) {
      items.push(item);
      wake();
      if (items.length - head <= limit) return true;
      head++;
      return false;
    },
    end(cause) {
      over = true;
      error = cause;
      wake();
    },
    async next() {
      while (head === items.length && !over) await new Promise<void>((resolve) => takers.push(resolve));
      if (head === items.length) {
        if (!error) return done;
        const cause = error;
        error = undefined;
        throw cause;
      }
      const value = items[head++]!;
      if (head > 1000 && head * 2 > items.length) {
        items = items.slice(head); // now and then, so that each item is moved once on average
        head = 0;
      }
      return { value, done: false };
    },
    async return() {
      items = [];
      head = 0;
      queue.end();
      onReturn();
      return done;
    },
  };
  return queue;
}
