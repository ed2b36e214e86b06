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
  let front: T[] = []; // the oldest items, reversed
  let back: T[] = [];
  let over = false;
  let error: unknown;
  const takers: (() => void)[] = []; // loops that wait

  const wake = (): void => takers.splice(0).forEach((taker) => taker());
  const size = (): number => front.length + back.length;
  const take = (): T => {
    if (!front.length) [front, back] = [back.reverse(), front];
    return front.pop()!;
  };

  const queue: Queue<T> = {
    push(item) {
      back.push(item);
      wake();
      if (size() <= limit) return true;
      take();
      return false;
    },
    end(cause) {
      over = true;
      error = cause;
      wake();
    },
    async next() {
      while (!size() && !over) await new Promise<void>((resolve) => takers.push(resolve));
      if (size()) return { value: take(), done: false };
      if (!error) return { value: undefined, done: true };
      const cause = error;
      error = undefined;
      throw cause;
    },
    async return() {
      front = [];
      back = [];
      queue.end();
      onReturn();
      return { value: undefined, done: true };
    },
  };
  return queue;
}
